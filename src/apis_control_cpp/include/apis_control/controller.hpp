// What a converter does every tick of its control loop: measure, count, protect, follow its
// reference.
//
// No clock, thread or I/O in it, so it runs as well in firmware. The loop that calls it a thousand
// times a second is in control_loop.hpp.
#pragma once

#include <cstdint>

#include "apis_control/converter.hpp"

namespace apis_control {

/// How the loop regulates. Defaults suit a bus of a few millifarads and a power stage that follows
/// within a few ms.
struct ControlParameters {
  /// The policy's steps: a reference runs ahead of what is measured by no more. [A, V]
  /// (`gridCurrentStepA`, `gridVoltageStepV` of the original's policy; infinite = free)
  double current_step_a = kNever;
  double voltage_step_v = kNever;
  /// Current compensation: the integral of what is measured too little, by which a current source
  /// trims its power stage; bounded, so that a broken meter moves it no further. [1/s, A]
  double compensation_per_s = 2.0;
  double compensation_limit_a = 0.2;
  /// Voltage regulator: PI, its integral frozen while the output is at the current limit
  /// (conditional integration, K. J. Astrom, T. Hagglund, "Advanced PID Control", 2006,
  /// section 3.5). With C = 4 mF: crossover at kp/C = 100 rad/s.
  double voltage_gain_a_per_v = 0.4;
  double voltage_integral_a_per_v_s = 10.0;
  /// Droop goes by the measured current through a first-order filter. Unfiltered, with a tick's
  /// delay, it would swing as soon as its resistance times `voltage_gain_a_per_v` exceeds one. [s]
  double droop_filter_s = 0.02;
  /// A converter that is on and hears nothing of its meters for so long trips. [s]
  double measurement_limit_s = 0.1;
};

/// What the meters say. NaN = not read this time.
struct Measurement {
  double bus_v = kNone;
  double current_a = kNone;  ///< At the bus, + = into the unit.
  double battery_w = kNone;  ///< + = into the battery; if NaN, the bus power less the loss curve.
  double temp_degc = kNone;
};

/// What the power stage is told.
struct Actuation {
  bool is_on = false;
  double current_a = 0.0;  ///< At the bus, + = into the unit.
};

enum class OrderKind : std::uint8_t { kHold, kWait, kMode, kCurrent, kVoltage };
enum class OrderResult : std::uint8_t { kNone, kObeyed, kNotActive, kNotReference, kEnded };

/// An order; values that are NaN stay as they are.
struct Order {
  OrderKind kind = OrderKind::kHold;
  Mode mode = Mode::kWait;
  double current_a = kNone;        ///< Setpoint, or the limit of a reference, >= 0.
  double voltage_v = kNone;        ///< Of a reference.
  double droop_ratio = kNone;      ///< Of a reference.
  double energy_limit_wh = kNone;  ///< Since the order of the mode.
  double next_current_a = 0.0;     ///< What it goes on with at the limit; 0 = it stops.
  double hold_s = kNone;  ///< The dead man: how long the order lasts unless it is renewed.
};

class Controller {
 public:
  explicit Controller(const ConverterParameters& converter = {},
                      const ControlParameters& control = {}) noexcept
      : converter(converter), control(control) {}

  Converter converter;
  ControlParameters control;

  /// Obey an order, or not; it takes effect at the next tick.
  OrderResult obey(const Order& order, double now_s) noexcept;

  /// One tick: what was measured at its end, how long it was [s, > 0], and the steady time [s].
  Actuation tick(const Measurement& measured, double dt_s, double now_s) noexcept;

  /// When the present order ends. [s, steady time]
  [[nodiscard]] double deadline_s() const noexcept { return deadline_s_; }
  [[nodiscard]] double bus_v() const noexcept { return bus_v_; }
  [[nodiscard]] double measured_a() const noexcept { return measured_a_; }
  [[nodiscard]] double ramp_a() const noexcept { return ramp_a_; }
  [[nodiscard]] double trim_a() const noexcept { return trim_a_; }

 private:
  void watch_hold(double now_s) noexcept;
  double follow_current(double dt_s) noexcept;
  double hold_voltage(double dt_s) noexcept;

  double deadline_s_ = kNever;
  double hold_s_ = kNever;
  double bus_v_ = 0.0;
  double measured_a_ = 0.0;
  double ramp_a_ = 0.0;      // where the reference of a current source is
  double trim_a_ = 0.0;      // compensation
  double integral_a_ = 0.0;  // of the voltage regulator
  double droop_a_ = 0.0;     // current that the droop goes by
  double silent_s_ = 0.0;
};

}  // namespace apis_control
