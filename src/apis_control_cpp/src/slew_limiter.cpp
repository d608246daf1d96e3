#include "apis_control/slew_limiter.hpp"

namespace apis_control {

double SlewLimiter::step(double reference, double dt_s) noexcept {
  const double bound = rate_per_s_ * dt_s;
  const double change = reference - value_;
  if (change > bound) {
    value_ += bound;
  } else if (change < -bound) {
    value_ -= bound;
  } else {
    value_ = reference;
  }
  return value_;
}

}  // namespace apis_control
