#include "apis_control/energy_meter.hpp"

#include <cmath>

namespace apis_control {

void CompensatedSum::add(double term) noexcept {
  const double total = sum_ + term;
  compensation_ +=
      std::abs(sum_) >= std::abs(term) ? (sum_ - total) + term : (term - total) + sum_;
  sum_ = total;
}

void EnergyMeter::add(double power_w, double dt_s) noexcept {
  const double before_w = has_sample_ ? last_power_w_ : power_w;
  if (before_w * power_w < 0.0) {
    // Two triangles of opposite sign that meet where the line crosses zero. Each length is
    // computed by itself: the difference dt_s - crossing would lose the short one.
    const double change_w = power_w - before_w;
    count(0.5 * before_w * (-before_w / change_w * dt_s));
    count(0.5 * power_w * (power_w / change_w * dt_s));
  } else {
    count(0.5 * (before_w + power_w) * dt_s);
  }
  last_power_w_ = power_w;
  has_sample_ = true;
}

void EnergyMeter::add_mean(double power_w, double dt_s) noexcept {
  count(power_w * dt_s);
  last_power_w_ = power_w;
  has_sample_ = true;
}

void EnergyMeter::count(double energy_ws) noexcept {
  if (energy_ws > 0.0) {
    charged_ws_.add(energy_ws);
  } else if (energy_ws < 0.0) {
    discharged_ws_.add(-energy_ws);
  }
}

}  // namespace apis_control
