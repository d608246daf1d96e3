// One bidirectional DC/DC converter between a battery and the bus: its modes, limits, ramps,
// counters and stops.
//
// The same object runs in a real-time loop (control_loop.hpp, one tick a millisecond) and in
// virtual time in the emulator's plant (plant.hpp, steps of any length, with exact means). Nothing
// here allocates, locks or throws.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "apis_control/energy_meter.hpp"

namespace apis_control {

inline constexpr double kNever = std::numeric_limits<double>::infinity();
inline constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

/// What a converter does. The numbers are those of the messages.
enum class Mode : std::uint8_t {
  kUnknown = 0,
  kWait = 1,
  kVoltageReference = 2,
  kDischarge = 3,
  kCharge = 4
};
/// What it says of its own health.
enum class Alarm : std::uint8_t { kUnknown = 0, kNone = 1, kLight = 2, kHeavy = 3 };
/// Why it left an active mode by itself.
enum class StopCause : std::uint8_t { kNone = 0, kEnergyReached = 1, kHoldExpired = 2, kTrip = 3 };
/// The same in detail; the text for people is made when somebody reads it.
enum class StopReason : std::uint8_t {
  kNone,
  kText,  // given with the order
  kEnergyReached,
  kHoldExpired,
  kOverCurrent,
  kOverVoltage,
  kUnderVoltage,
  kOverTemperature,
  kUnderTemperature,
  kLimitTooLow,
  kBatteryEmpty,
  kBatteryFull,
  kNoMeasurement,
};

/// What a converter is built for and what the policy lets it do.
struct ConverterParameters {
  // Ratings of the TDK-Lambda EZA-2500-32048, the converter of the original system
  // (SonyCSL/apis-hw-info, section 6).
  double rated_current_a = 7.8125;  // [A] at the bus: 2500 W at 320 V
  double rated_power_w = 2500.0;    // [W]

  // How fast references are followed. [A/s, V/s]
  double current_slew_a_per_s = 1.0;
  double voltage_up_v_per_s = 30.0;
  double voltage_down_v_per_s = 60.0;

  // Loss: off `waiting_w`; on `constant_w + linear*|P| + quadratic_per_w*P^2`, the usual part-load
  // law (G. Notton et al., Renewable Energy 35(2), 2010). The values are an estimate for this
  // class: 91 % at 350 W, 96 % at 1250 W.
  double waiting_w = 4.5;
  double constant_w = 30.0;
  double linear = 0.010;
  double quadratic_per_w = 8.0e-6;  // [1/W]

  // Trips.
  double over_current_trip_a = kNever;  // [A] either direction
  double over_voltage_trip_v = 400.0;   // [V]
  double under_voltage_trip_v = 260.0;  // [V]
  double over_temp_trip_degc = kNever;  // [degC]
  double under_temp_trip_degc = -kNever;
  double saturation_trip_s = 0.5;  // [s] a reference at its current limit for so long gives up
  double dead_bus_v = 1.0;         // [V] an orderly stop of a reference ends here
};

/// The text for people of a reason (not of kText).
[[nodiscard]] std::string stop_text(StopReason reason, double value, double limit);

/// State of a converter. Currents and powers: + = from the bus into the unit.
class Converter {
 public:
  explicit Converter(const ConverterParameters& parameters = {}) noexcept
      : parameters(parameters) {}

  ConverterParameters parameters;

  Mode mode = Mode::kWait;
  Alarm alarm = Alarm::kNone;
  StopCause stop_cause = StopCause::kNone;
  double current_a = 0.0;           ///< At the bus terminal, now. [A]
  double voltage_setpoint_v = 0.0;  ///< Ordered voltage; 0 unless a voltage reference. [V]
  double current_setpoint_a =
      0.0;                   ///< Ordered current, or the limit of a voltage reference, >= 0. [A]
  double droop_ratio = 0.0;  ///< Voltage drop at rated current over the setpoint, 0..0.1.
  double regulated_v = 0.0;  ///< What a voltage reference regulates to while it ramps. [V]
  bool has_held = false;  ///< As a reference it has reached its setpoint: a fall of the voltage is
                          ///< a fault now.
  double saturated_s = 0.0;  ///< For how long a reference has been at its current limit. [s]
  double energy_limit_wh =
      kNone;                    ///< It stops by itself when so much has moved; NaN = never. [Wh]
  double next_current_a = 0.0;  ///< Setpoint that it goes to there instead; 0 = it stops. [A]
  double current_offset_a =
      0.0;                ///< Error of its current control: it carries so much more than told. [A]
  bool is_stuck = false;  ///< Fault: it keeps its current whatever it is told.
  bool may_charge = true;  ///< Permits of the battery management.
  bool may_discharge = true;
  double temp_degc = 25.0;  ///< Inside. [degC]

  // --- what it is ---
  [[nodiscard]] bool is_active() const noexcept { return mode != Mode::kWait; }
  [[nodiscard]] bool is_stopping() const noexcept { return pending_; }
  [[nodiscard]] bool is_reference() const noexcept { return mode == Mode::kVoltageReference; }
  [[nodiscard]] double charged_wh() const noexcept { return grid_.charged_wh(); }
  [[nodiscard]] double discharged_wh() const noexcept { return grid_.discharged_wh(); }
  [[nodiscard]] double battery_charged_wh() const noexcept { return battery_.charged_wh(); }
  [[nodiscard]] double battery_discharged_wh() const noexcept { return battery_.discharged_wh(); }
  /// Moved over the bus terminal, either way, since the last order of a mode. [Wh]
  [[nodiscard]] double moved_wh() const noexcept {
    return (grid_.passed_ws() - base_ws_) / 3600.0;
  }
  /// What is left until the energy limit; NaN = there is none. [Ws]
  [[nodiscard]] double left_ws() const noexcept {
    return energy_limit_wh * 3600.0 - (grid_.passed_ws() - base_ws_);
  }
  /// Droop as a resistance: `droop_ratio * setpoint` at rated current. [V/A] (J. M. Guerrero et
  /// al., IEEE Trans. Ind. Electron. 58(1), 2011: virtual resistance R_d = dV_max / I_max.)
  [[nodiscard]] double droop_ohm() const noexcept {
    return droop_ratio * voltage_setpoint_v / parameters.rated_current_a;
  }
  /// What it burns at this power at the bus terminal. [W]
  [[nodiscard]] double loss_w(double grid_w) const noexcept {
    if (!is_active()) return parameters.waiting_w;
    const double power_w = grid_w < 0.0 ? -grid_w : grid_w;
    return parameters.constant_w +
           (parameters.linear + parameters.quadratic_per_w * power_w) * power_w;
  }
  /// Why it left its last active mode by itself, for people.
  [[nodiscard]] std::string stop_detail() const;
  [[nodiscard]] StopReason stop_reason() const noexcept { return why_.reason; }
  [[nodiscard]] double stop_value() const noexcept { return why_.value; }
  [[nodiscard]] double stop_limit() const noexcept { return why_.limit; }

  // --- what it is told ---
  /// Enter an active mode; setpoints are set apart. Counting towards the energy limit begins anew.
  void start(Mode mode, double bus_v, double energy_limit_wh) noexcept;
  /// Forget the alarm, as any order of a mode does. The stop cause stays until a start.
  void acknowledge() noexcept { alarm = Alarm::kNone; }
  /// Go to WAIT in order. A first cause stays. With the bus held by another reference, this one
  /// lets its current go instead of the voltage.
  void stop(StopCause cause, bool is_bus_held, StopReason reason = StopReason::kNone,
            double value = 0.0, double limit = 0.0) noexcept;
  /// The same with a text (cut to what fits).
  void stop(StopCause cause, bool is_bus_held, std::string_view detail) noexcept;
  /// Off at once, with an alarm.
  void trip(StopReason reason, double value = 0.0, double limit = 0.0) noexcept;
  void trip(std::string_view detail) noexcept;
  /// The limit is reached, but others want its current still.
  void go_on_with_less() noexcept;
  /// End an orderly stop now, wherever it is.
  void finish() noexcept;

  // --- what it does ---
  /// Current that a current source heads for: its setpoint, within its rated power. [A]
  [[nodiscard]] double target_a(double bus_v) const noexcept;
  /// Let a current source follow its target; returns the exact mean of its current. [A]
  double move_current(double bus_v, double dt_s) noexcept;
  /// Where the ramp of a reference is after a time. [V]
  [[nodiscard]] double next_setpoint_v(double dt_s) const noexcept;
  /// Meter a step of mean power; returns what is lost. [W]
  double count(double grid_w, double dt_s) noexcept;
  /// Meter a sample of power at the end of an interval (trapezoid). [W]
  void count_sample(double grid_w, double battery_w, double dt_s) noexcept {
    grid_.add(grid_w, dt_s);
    battery_.add(battery_w, dt_s);
  }
  /// Time until its stop must begin to meet its energy limit; infinite = not in sight. [s]
  ///
  /// The current still flows while it runs down: a current source that stops at current i and
  /// slews at s moves another `V * i^2 / (2 s)`. The time solves `moved(t) + V*i(t)^2/(2 s) =
  /// limit` for constant V, first along the ramp to the target, then on the flat. A reference does
  /// not steer its current; it stops on the limit itself.
  [[nodiscard]] double time_to_stop(double bus_v) const noexcept;
  /// What it trips on by itself at these values; true if it did.
  bool protect(double bus_v) noexcept;

 private:
  struct Why {
    StopReason reason = StopReason::kNone;
    double value = 0.0, limit = 0.0;
    std::array<char, 160> text{};
  };
  void off(StopCause cause, const Why& why) noexcept;
  static Why worded(std::string_view detail) noexcept;
  void begin_stop(StopCause cause, bool is_bus_held, const Why& why) noexcept;

  EnergyMeter grid_;
  EnergyMeter battery_;
  double base_ws_ = 0.0;
  bool pending_ = false;
  StopCause pending_cause_ = StopCause::kNone;
  Why pending_why_;
  Why why_;
};

}  // namespace apis_control
