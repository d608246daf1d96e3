#include "apis_control/controller.hpp"

#include <algorithm>
#include <cmath>

namespace apis_control {

namespace {

double towards(double from, double to, double bound) noexcept {
  return to > from + bound ? from + bound : to < from - bound ? from - bound : to;
}

}  // namespace

OrderResult Controller::obey(const Order& order, double now_s) noexcept {
  Converter& c = converter;
  if (order.kind == OrderKind::kWait) {
    c.stop(StopCause::kNone, false);
    c.acknowledge();
    return OrderResult::kObeyed;
  }
  if (order.kind == OrderKind::kMode) {
    const bool was_reference = c.is_reference();
    if (!c.is_active()) ramp_a_ = trim_a_ = integral_a_ = 0.0;
    c.start(order.mode, bus_v_, order.energy_limit_wh);
    if (!c.is_reference()) {
      ramp_a_ = measured_a_;  // bumpless, also from a reference
      trim_a_ = 0.0;
    } else if (!was_reference) {
      integral_a_ = droop_a_ = measured_a_;
    }
    c.current_setpoint_a =
        std::isnan(order.current_a) ? c.parameters.rated_current_a : order.current_a;
    c.next_current_a = order.next_current_a;
    if (c.is_reference()) {
      c.voltage_setpoint_v = std::isnan(order.voltage_v) ? bus_v_ : order.voltage_v;
      c.droop_ratio = std::isnan(order.droop_ratio) ? 0.0 : order.droop_ratio;
    }
  } else {
    if (!c.is_active()) return OrderResult::kNotActive;
    if (c.is_stopping()) return OrderResult::kEnded;
    if (order.kind == OrderKind::kVoltage && !c.is_reference()) return OrderResult::kNotReference;
    if (order.kind == OrderKind::kCurrent) c.current_setpoint_a = order.current_a;
    if (order.kind == OrderKind::kVoltage) {
      if (!std::isnan(order.voltage_v)) c.voltage_setpoint_v = order.voltage_v;
      if (!std::isnan(order.droop_ratio)) c.droop_ratio = order.droop_ratio;
    }
    if (!std::isnan(order.energy_limit_wh)) {
      c.energy_limit_wh = order.energy_limit_wh;
      c.next_current_a = order.next_current_a;
    }
  }
  if (!std::isnan(order.hold_s)) {
    hold_s_ = order.hold_s;
    deadline_s_ = now_s + order.hold_s;
  }
  return OrderResult::kObeyed;
}

// The dead man. It begins early enough to be in WAIT when the hold time ends, but gives a renewal
// half of that time; what is still on at its end is switched off.
void Controller::watch_hold(double now_s) noexcept {
  Converter& c = converter;
  if (now_s >= deadline_s_) {
    c.stop(StopCause::kHoldExpired, false, StopReason::kHoldExpired, now_s - deadline_s_, hold_s_);
    c.finish();
    return;
  }
  if (c.is_stopping() || now_s < deadline_s_ - 0.5 * hold_s_) return;
  const double down_s = c.is_reference() ? bus_v_ / c.parameters.voltage_down_v_per_s
                                         : std::abs(ramp_a_) / c.parameters.current_slew_a_per_s;
  if (now_s >= deadline_s_ - std::min(down_s, 0.5 * hold_s_)) {
    c.stop(StopCause::kHoldExpired, false, StopReason::kHoldExpired, 0.0, hold_s_);
  }
}

Actuation Controller::tick(const Measurement& measured, double dt_s, double now_s) noexcept {
  Converter& c = converter;
  // Not a number, not a measurement; an infinite one is a broken meter.
  const bool is_read = std::isfinite(measured.bus_v) && std::isfinite(measured.current_a);
  silent_s_ = is_read ? 0.0 : silent_s_ + dt_s;
  if (is_read) {
    bus_v_ = measured.bus_v;
    measured_a_ = measured.current_a;
  }
  if (std::isfinite(measured.temp_degc)) c.temp_degc = measured.temp_degc;
  const double grid_w = bus_v_ * measured_a_;
  const double battery_w =
      std::isfinite(measured.battery_w) ? measured.battery_w : grid_w - c.loss_w(grid_w);
  c.count_sample(grid_w, battery_w, dt_s);
  c.current_a = measured_a_;
  if (!c.is_active()) return {};

  if (silent_s_ > control.measurement_limit_s) {
    c.trip(StopReason::kNoMeasurement, silent_s_, control.measurement_limit_s);
    return {};
  }
  if (c.protect(bus_v_)) return {};
  watch_hold(now_s);
  if (!c.is_active()) return {};

  if (!c.is_reference())
    c.current_a = ramp_a_;  // the reckoning of the end goes by the ramp, not by a meter's noise
  // Far from the limit a bound will do: no current that is possible brings it to its stop within
  // this tick.
  const double most_a = std::max(std::abs(c.current_a), c.current_setpoint_a);
  const double near_ws =
      bus_v_ * most_a * (most_a / (2.0 * c.parameters.current_slew_a_per_s) + dt_s);
  if (c.left_ws() <= near_ws && c.time_to_stop(bus_v_) <= 0.5 * dt_s) {
    if (c.next_current_a > 0.0) {
      c.go_on_with_less();
    } else {
      c.stop(StopCause::kEnergyReached, false, StopReason::kEnergyReached, c.moved_wh(),
             c.energy_limit_wh);
    }
  }
  c.current_a = measured_a_;
  const double out_a = c.is_reference() ? hold_voltage(dt_s) : follow_current(dt_s);
  return {c.is_active(), c.is_active() ? out_a : 0.0};
}

double Controller::follow_current(double dt_s) noexcept {
  Converter& c = converter;
  const double goal_a = c.target_a(bus_v_), step_a = control.current_step_a;
  const double next_a = towards(ramp_a_, goal_a, c.parameters.current_slew_a_per_s * dt_s);
  const bool is_ahead = std::abs(next_a - measured_a_) > step_a &&
                        std::abs(next_a - measured_a_) > std::abs(ramp_a_ - measured_a_);
  if (!is_ahead) ramp_a_ = next_a;
  if (c.is_stopping() && ramp_a_ == 0.0) {
    c.finish();
    return 0.0;
  }
  if (ramp_a_ == goal_a && !c.is_stopping()) {
    const double limit_a = control.compensation_limit_a;
    trim_a_ = std::clamp(trim_a_ + control.compensation_per_s * (ramp_a_ - measured_a_) * dt_s,
                         -limit_a, limit_a);
  }
  // A trim must not turn the current round, nor let it flow when none is wanted.
  const double out_a = ramp_a_ + trim_a_;
  return ramp_a_ > 0.0 ? std::max(out_a, 0.0) : ramp_a_ < 0.0 ? std::min(out_a, 0.0) : 0.0;
}

double Controller::hold_voltage(double dt_s) noexcept {
  Converter& c = converter;
  const double before_v = c.regulated_v, next_v = c.next_setpoint_v(dt_s),
               step_v = control.voltage_step_v;
  const bool is_ahead = std::abs(next_v - bus_v_) > step_v &&
                        std::abs(next_v - bus_v_) > std::abs(before_v - bus_v_);
  if (!is_ahead) c.regulated_v = next_v;
  if (c.is_stopping() && (bus_v_ <= c.parameters.dead_bus_v || c.regulated_v <= 0.0)) {
    c.finish();
    return 0.0;
  }
  if (!c.is_stopping())
    c.has_held |=
        c.regulated_v == c.voltage_setpoint_v && bus_v_ > c.parameters.under_voltage_trip_v;
  droop_a_ += (measured_a_ - droop_a_) * dt_s / (control.droop_filter_s + dt_s);
  const double error_v = bus_v_ - (c.regulated_v + c.droop_ohm() * droop_a_);
  const double limit_a = c.current_setpoint_a;
  const double wanted_a = control.voltage_gain_a_per_v * error_v + integral_a_;
  const double out_a = std::clamp(wanted_a, -limit_a, limit_a);
  const bool is_saturated = out_a != wanted_a;
  // Anti-windup: at the limit the integral moves only back.
  if (!is_saturated || (wanted_a > 0.0) != (error_v > 0.0)) {
    integral_a_ = std::clamp(integral_a_ + control.voltage_integral_a_per_v_s * error_v * dt_s,
                             -limit_a, limit_a);
  }
  c.saturated_s = is_saturated ? c.saturated_s + dt_s : 0.0;
  // A ramp starts anew from where the bus is, instead of running away.
  if (is_saturated && !c.is_stopping() && !c.has_held) c.regulated_v = bus_v_;
  return out_a;
}

}  // namespace apis_control
