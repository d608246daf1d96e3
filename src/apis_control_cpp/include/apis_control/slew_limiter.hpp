// A value that follows its reference at a bounded rate.
#pragma once

namespace apis_control {

/// Follows a reference no faster than `rate_per_s`, and meets it exactly, without overshoot.
///
/// Arguments are trusted here: finite reference, finite dt_s > 0, finite rate > 0. The bindings
/// check them.
class SlewLimiter {
 public:
  explicit SlewLimiter(double rate_per_s, double value = 0.0) noexcept
      : rate_per_s_(rate_per_s), value_(value) {}

  /// One step; returns the new value.
  double step(double reference, double dt_s) noexcept;

  /// Jump to a value, as a trip does.
  void reset(double value) noexcept { value_ = value; }

  [[nodiscard]] double value() const noexcept { return value_; }
  [[nodiscard]] double rate_per_s() const noexcept { return rate_per_s_; }

 private:
  double rate_per_s_;
  double value_;
};

}  // namespace apis_control
