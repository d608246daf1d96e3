// Energy counting for one terminal of a converter.
#pragma once

namespace apis_control {

/// A sum that does not forget small terms: Neumaier's variant of Kahan summation
/// (A. Neumaier, "Rundungsfehleranalyse einiger Verfahren zur Summation endlicher Summen", ZAMM
/// 54, 1974).
class CompensatedSum {
 public:
  void add(double term) noexcept;
  [[nodiscard]] double value() const noexcept { return sum_ + compensation_; }

 private:
  double sum_ = 0.0;
  double compensation_ = 0.0;
};

/// Counts the Wh that pass a terminal, charging (power > 0) and discharging (power < 0) apart.
///
/// Neither counter ever decreases. Arguments are trusted here: finite power, finite dt_s > 0. The
/// bindings check them.
class EnergyMeter {
 public:
  /// A sample of the power at the end of an interval: trapezoid with the sample before it (the
  /// first one counts as constant over its interval). Where the power changes its sign in between,
  /// each part goes to its own counter.
  void add(double power_w, double dt_s) noexcept;

  /// An interval of which the mean power is known. The next add() takes it for the sample before.
  void add_mean(double power_w, double dt_s) noexcept;

  [[nodiscard]] double charged_wh() const noexcept { return charged_ws_.value() / 3600.0; }
  /// Both together. [Ws]
  [[nodiscard]] double passed_ws() const noexcept {
    return charged_ws_.value() + discharged_ws_.value();
  }
  [[nodiscard]] double discharged_wh() const noexcept { return discharged_ws_.value() / 3600.0; }

 private:
  void count(double energy_ws) noexcept;

  CompensatedSum charged_ws_;
  CompensatedSum discharged_ws_;
  double last_power_w_ = 0.0;
  bool has_sample_ = false;
};

}  // namespace apis_control
