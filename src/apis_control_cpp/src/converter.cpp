#include "apis_control/converter.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

namespace apis_control {

namespace {

double direction(Mode mode) noexcept {
  return mode == Mode::kCharge ? 1.0 : mode == Mode::kDischarge ? -1.0 : 0.0;
}

// Solve charge(t) + i(t)^2/(2 s) = left for t, with i going from one current to another at s and
// staying. [s]
double time_to_charge(double left_as, double from_a, double to_a, double slew_a_per_s) noexcept {
  left_as -= from_a * from_a / (2.0 * slew_a_per_s);
  if (left_as <= 0.0) return 0.0;
  const double ramp_s = std::abs(to_a - from_a) / slew_a_per_s;
  if (to_a > from_a) {
    // 2*i*t + s*t^2 = left: what flows on the way up and again on the way down.
    const double root_a = std::sqrt(from_a * from_a + slew_a_per_s * left_as);
    const double rise_s = (root_a - from_a) / slew_a_per_s;
    if (rise_s <= ramp_s) return rise_s;
    left_as -= 2.0 * from_a * ramp_s + slew_a_per_s * ramp_s * ramp_s;
  }
  // On the way down nothing is used up: what flows now need not flow later.
  return to_a > 0.0 ? ramp_s + left_as / to_a : kNever;
}

/// A trip for what the bus or the battery has done: the converter is whole, and its alarm light.
Alarm alarm_of(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::kOverVoltage:
    case StopReason::kUnderVoltage:
    case StopReason::kLimitTooLow:
    case StopReason::kBatteryEmpty:
    case StopReason::kBatteryFull:
      return Alarm::kLight;
    default:
      return Alarm::kHeavy;
  }
}

}  // namespace

std::string Converter::stop_detail() const {
  return why_.reason == StopReason::kText ? why_.text.data()
                                          : stop_text(why_.reason, why_.value, why_.limit);
}

std::string stop_text(StopReason reason, double value, double limit) {
  char text[160];
  switch (reason) {
    case StopReason::kNone:
    case StopReason::kText:
      return "";
    case StopReason::kEnergyReached:
      std::snprintf(text, sizeof text, "%.6g Wh have moved", limit);
      break;
    case StopReason::kHoldExpired:
      std::snprintf(text, sizeof text, "the order was not renewed within its hold time of %g s",
                    limit);
      break;
    case StopReason::kOverCurrent:
      std::snprintf(text, sizeof text, "over-current: %.2f A, limit %g A", value, limit);
      break;
    case StopReason::kOverVoltage:
      std::snprintf(text, sizeof text, "over-voltage: %.1f V, limit %g V", value, limit);
      break;
    case StopReason::kUnderVoltage:
      std::snprintf(text, sizeof text, "under-voltage: %.1f V, limit %g V", value, limit);
      break;
    case StopReason::kOverTemperature:
      std::snprintf(text, sizeof text, "over-temperature: %.1f degC, limit %g degC", value, limit);
      break;
    case StopReason::kUnderTemperature:
      std::snprintf(text, sizeof text, "under-temperature: %.1f degC, limit %g degC", value,
                    limit);
      break;
    case StopReason::kLimitTooLow:
      std::snprintf(text, sizeof text, "over-current: its limit of %g A is too low", limit);
      break;
    case StopReason::kBatteryEmpty:
      return "battery empty: the battery management forbids drawing";
    case StopReason::kBatteryFull:
      return "battery full: the battery management forbids charging";
    case StopReason::kNoMeasurement:
      std::snprintf(text, sizeof text, "no measurement for %.3g s, limit %g s", value, limit);
      break;
  }
  return text;
}

void Converter::start(Mode new_mode, double bus_v, double limit_wh) noexcept {
  if (new_mode != Mode::kVoltageReference) {
    voltage_setpoint_v = droop_ratio = 0.0;
  } else if (!is_reference()) {
    regulated_v = bus_v;
  }
  has_held = false;
  saturated_s = 0.0;
  mode = new_mode;
  pending_ = false;
  energy_limit_wh = limit_wh;
  next_current_a = 0.0;
  base_ws_ = grid_.passed_ws();
  stop_cause = StopCause::kNone;
  why_.reason = StopReason::kNone;
  acknowledge();
}

void Converter::begin_stop(StopCause cause, bool is_bus_held, const Why& why) noexcept {
  if (!is_active() || pending_) return;
  if (is_reference() && is_bus_held) mode = current_a < 0.0 ? Mode::kDischarge : Mode::kCharge;
  pending_ = true;
  pending_cause_ = cause;
  pending_why_ = why;
  if (!is_reference()) current_setpoint_a = 0.0;
  voltage_setpoint_v = 0.0;
  droop_ratio = 0.0;
}

void Converter::stop(StopCause cause, bool is_bus_held, StopReason reason, double value,
                     double limit) noexcept {
  begin_stop(cause, is_bus_held, Why{reason, value, limit, {}});
}

void Converter::stop(StopCause cause, bool is_bus_held, std::string_view detail) noexcept {
  begin_stop(cause, is_bus_held, worded(detail));
}

Converter::Why Converter::worded(std::string_view detail) noexcept {
  Why why;
  if (detail.empty()) return why;
  why.reason = StopReason::kText;
  std::memcpy(why.text.data(), detail.data(), std::min(detail.size(), why.text.size() - 1));
  return why;
}

void Converter::trip(StopReason reason, double value, double limit) noexcept {
  off(StopCause::kTrip, Why{reason, value, limit, {}});
  alarm = alarm_of(reason);
}

void Converter::trip(std::string_view detail) noexcept {
  off(StopCause::kTrip, worded(detail));
  alarm = Alarm::kHeavy;
}

void Converter::go_on_with_less() noexcept {
  current_setpoint_a = next_current_a;
  next_current_a = 0.0;
  energy_limit_wh = kNone;
}

void Converter::finish() noexcept {
  const Why why = pending_ ? pending_why_ : Why{};
  off(pending_ ? pending_cause_ : StopCause::kNone, why);
}

void Converter::off(StopCause cause, const Why& why) noexcept {
  mode = Mode::kWait;
  stop_cause = cause;
  why_ = why;
  pending_ = false;
  if (!is_stuck) current_a = 0.0;
  current_setpoint_a = voltage_setpoint_v = droop_ratio = regulated_v = 0.0;
  energy_limit_wh = kNone;
  next_current_a = 0.0;
}

double Converter::target_a(double bus_v) const noexcept {
  if (is_stuck) return current_a;
  if (pending_) return 0.0;
  const double limit_a = bus_v > 0.0 ? parameters.rated_power_w / bus_v : 0.0;
  double wanted_a = current_setpoint_a;
  if (wanted_a > 0.0) wanted_a = std::max(wanted_a + current_offset_a, 0.0);
  return direction(mode) * std::min(wanted_a, limit_a);
}

double Converter::move_current(double bus_v, double dt_s) noexcept {
  const double before_a = current_a, slew = parameters.current_slew_a_per_s;
  const double target = target_a(bus_v), bound = slew * dt_s;
  const double after_a = target > before_a + bound   ? before_a + bound
                         : target < before_a - bound ? before_a - bound
                                                     : target;
  current_a = after_a;
  if (after_a == before_a) return after_a;
  const double ramp_s = std::min(std::abs(after_a - before_a) / slew, dt_s);
  return after_a + (before_a - after_a) * ramp_s / (2.0 * dt_s);
}

double Converter::next_setpoint_v(double dt_s) const noexcept {
  return voltage_setpoint_v > regulated_v
             ? std::min(voltage_setpoint_v, regulated_v + parameters.voltage_up_v_per_s * dt_s)
             : std::max(voltage_setpoint_v, regulated_v - parameters.voltage_down_v_per_s * dt_s);
}

double Converter::count(double grid_w, double dt_s) noexcept {
  const double lost_w = loss_w(grid_w);
  grid_.add_mean(grid_w, dt_s);
  battery_.add_mean(grid_w - lost_w, dt_s);
  return lost_w;
}

double Converter::time_to_stop(double bus_v) const noexcept {
  if (std::isnan(energy_limit_wh) || !is_active() || pending_) return kNever;
  double left_ws = this->left_ws();
  if (left_ws <= 0.0) return 0.0;
  if (bus_v <= 0.0) return kNever;
  const double now_a = std::abs(current_a), power_w = now_a * bus_v,
               slew = parameters.current_slew_a_per_s;
  if (next_current_a > 0.0) {
    // Of the current i the part x leaves, in x/s seconds, and moves V*x^2/(2 s) meanwhile; that is
    // x/i of the last V*x*i/(2 s) before the limit.
    const double leaving_a = std::max(now_a - next_current_a, 0.0);
    left_ws -= power_w * leaving_a / (2.0 * slew);
    return power_w > 0.0 ? std::max(left_ws / power_w, 0.0) : kNever;
  }
  if (is_reference()) return power_w > 0.0 ? left_ws / power_w : kNever;
  const double goal_a = target_a(bus_v);
  if (current_a * goal_a < 0.0)
    return kNever;  // still running down the other direction; not before it crosses zero
  return time_to_charge(left_ws / bus_v, now_a, std::abs(goal_a), slew);
}

bool Converter::protect(double bus_v) noexcept {
  const ConverterParameters& p = parameters;
  const bool must_have_bus = !is_reference() || has_held;
  if (bus_v > p.over_voltage_trip_v) {
    trip(StopReason::kOverVoltage, bus_v, p.over_voltage_trip_v);
  } else if (bus_v < p.under_voltage_trip_v && must_have_bus && !pending_) {
    trip(StopReason::kUnderVoltage, bus_v, p.under_voltage_trip_v);
  } else if (std::abs(current_a) > p.over_current_trip_a) {
    trip(StopReason::kOverCurrent, std::abs(current_a), p.over_current_trip_a);
  } else if (temp_degc > p.over_temp_trip_degc) {
    trip(StopReason::kOverTemperature, temp_degc, p.over_temp_trip_degc);
  } else if (temp_degc < p.under_temp_trip_degc) {
    trip(StopReason::kUnderTemperature, temp_degc, p.under_temp_trip_degc);
  } else if (is_reference() && saturated_s > p.saturation_trip_s) {
    trip(StopReason::kLimitTooLow, 0.0, current_setpoint_a);
  } else if (!may_discharge && current_a < 0.0) {
    trip(StopReason::kBatteryEmpty);
  } else if (!may_charge && current_a > 0.0) {
    trip(StopReason::kBatteryFull);
  } else {
    return false;
  }
  return true;
}

}  // namespace apis_control
