// The border to Python: checks what comes in, so that the loop behind it need not.
#include <pybind11/pybind11.h>

#include <cmath>
#include <stdexcept>
#include <string>

#include "apis_control/energy_meter.hpp"
#include "apis_control/slew_limiter.hpp"

namespace py = pybind11;

namespace {

using apis_control::EnergyMeter;
using apis_control::SlewLimiter;

class ControlError : public std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
class InvalidTimeStep : public ControlError {
  using ControlError::ControlError;
};
class InvalidValue : public ControlError {
  using ControlError::ControlError;
};

double time_step(double dt_s) {
  if (!(std::isfinite(dt_s) && dt_s > 0.0)) {
    throw InvalidTimeStep("dt_s is " + std::to_string(dt_s) + ", it must be a finite number of seconds > 0");
  }
  return dt_s;
}

double finite(const char* name, double value) {
  if (!std::isfinite(value)) {
    throw InvalidValue(std::string(name) + " is " + std::to_string(value) + ", it must be a finite number");
  }
  return value;
}

double rate(double rate_per_s) {
  if (!(std::isfinite(rate_per_s) && rate_per_s > 0.0)) {
    throw InvalidValue("rate_per_s is " + std::to_string(rate_per_s) + ", it must be a finite number > 0");
  }
  return rate_per_s;
}

}  // namespace

PYBIND11_MODULE(_apis_control, module) {
  module.doc() = "C++ control parts of a converter; see apis_control.pyi for the documented interface.";

  const auto error = py::register_exception<ControlError>(module, "ControlError", PyExc_ValueError);
  py::register_exception<InvalidTimeStep>(module, "InvalidTimeStep", error);
  py::register_exception<InvalidValue>(module, "InvalidValue", error);

  py::class_<EnergyMeter>(module, "EnergyMeter")
      .def(py::init<>())
      .def("add",
           [](EnergyMeter& meter, double power_w, double dt_s) { meter.add(finite("power_w", power_w), time_step(dt_s)); },
           py::arg("power_w"), py::arg("dt_s"))
      .def("add_mean",
           [](EnergyMeter& meter, double power_w, double dt_s) {
             meter.add_mean(finite("power_w", power_w), time_step(dt_s));
           },
           py::arg("power_w"), py::arg("dt_s"))
      .def_property_readonly("charged_wh", &EnergyMeter::charged_wh)
      .def_property_readonly("discharged_wh", &EnergyMeter::discharged_wh);

  py::class_<SlewLimiter>(module, "SlewLimiter")
      .def(py::init([](double rate_per_s, double value) { return SlewLimiter(rate(rate_per_s), finite("value", value)); }),
           py::arg("rate_per_s"), py::arg("value") = 0.0)
      .def("step",
           [](SlewLimiter& limiter, double reference, double dt_s) {
             return limiter.step(finite("reference", reference), time_step(dt_s));
           },
           py::arg("reference"), py::arg("dt_s"))
      .def("reset", [](SlewLimiter& limiter, double value) { limiter.reset(finite("value", value)); }, py::arg("value"))
      .def_property_readonly("value", &SlewLimiter::value)
      .def_property_readonly("rate_per_s", &SlewLimiter::rate_per_s);
}
