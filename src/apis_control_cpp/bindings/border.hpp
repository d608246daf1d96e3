// What the border to Python checks and raises, so that the loops behind it need not.
#pragma once

#include <pybind11/pybind11.h>

#include <cmath>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "apis_control/converter.hpp"
#include "apis_control/plant.hpp"

namespace apis_control::border {

class ControlError : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
class InvalidTimeStep : public ControlError {
  using ControlError::ControlError;
};
class InvalidValue : public ControlError {
  using ControlError::ControlError;
};
/// A handle whose unit was taken out of its plant, or whose loop has ended.
class Detached : public ControlError {
  using ControlError::ControlError;
};

inline std::string text_of(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%g", value);
  return text;
}

inline double time_step(double dt_s) {
  if (!(std::isfinite(dt_s) && dt_s > 0.0)) {
    throw InvalidTimeStep("dt_s is " + text_of(dt_s) +
                          ", it must be a finite number of seconds > 0");
  }
  return dt_s;
}

inline double finite(const char* name, double value) {
  if (!std::isfinite(value)) {
    throw InvalidValue(std::string(name) + " is " + text_of(value) +
                       ", it must be a finite number");
  }
  return value;
}

inline double positive(const char* name, double value) {
  if (!(std::isfinite(value) && value > 0.0)) {
    throw InvalidValue(std::string(name) + " is " + text_of(value) +
                       ", it must be a finite number > 0");
  }
  return value;
}

inline double within(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    throw InvalidValue(std::string(name) + " is " + text_of(value) + ", it must be from " +
                       text_of(low) + " to " + text_of(high));
  }
  return value;
}

/// A converter loop did not obey an order: it is in no state for it, or has ended.
class NotObeyed : public ControlError {
  using ControlError::ControlError;
};

template <typename Enum>
int number(Enum value) {
  return static_cast<int>(value);
}

inline pybind11::object or_none(double value) {
  return std::isnan(value) ? pybind11::none() : pybind11::object(pybind11::float_(value));
}
inline double or_nan(const pybind11::object& value) {
  return value.is_none() ? kNone : value.cast<double>();
}

/// An active mode out of its number.
inline Mode active_mode(int mode) {
  if (mode < number(Mode::kVoltageReference) || mode > number(Mode::kCharge)) {
    throw InvalidValue("mode is " + std::to_string(mode) +
                       ", it must be 2 VOLTAGE_REFERENCE, 3 DISCHARGE or 4 CHARGE");
  }
  return static_cast<Mode>(mode);
}

/// Keyword arguments into the fields of a struct of doubles.
template <typename Class>
void fill(Class& into, const pybind11::dict& values,
          const std::vector<std::pair<const char*, double Class::*>>& fields) {
  for (const auto& [key, value] : values) {
    const std::string name = key.template cast<std::string>();
    bool is_known = false;
    for (const auto& [field, member] : fields) {
      if (name != field) continue;
      into.*member = value.template cast<double>();
      if (std::isnan(into.*member)) throw InvalidValue(name + " is nan, it must be a number");
      is_known = true;
    }
    if (!is_known) throw pybind11::type_error("unknown parameter " + name);
  }
}

ConverterParameters converter_parameters(const pybind11::dict& values);
HouseParameters house_parameters(const pybind11::dict& values);
BatteryCells cells_of(const pybind11::dict& values);
/// (values, step_s, origin_s), or one number; arrays of float32 are not copied.
Profile profile(const char* name, const pybind11::object& given);

void add_plant(pybind11::module_& module);
void add_house_run(pybind11::module_& module);
void add_loop(pybind11::module_& module);

}  // namespace apis_control::border
