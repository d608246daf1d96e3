#include <gtest/gtest.h>

#include "apis_control/slew_limiter.hpp"

using apis_control::SlewLimiter;

TEST(SlewLimiter, MovesNoFasterThanItsRate) {
  SlewLimiter limiter(2.0);
  EXPECT_DOUBLE_EQ(limiter.step(10.0, 0.5), 1.0);
  EXPECT_DOUBLE_EQ(limiter.step(-10.0, 1.0), -1.0);
}

TEST(SlewLimiter, MeetsItsReferenceExactly) {
  SlewLimiter limiter(2.0, 0.9);
  EXPECT_EQ(limiter.step(1.0, 0.1), 1.0);
  EXPECT_EQ(limiter.step(1.0, 0.1), 1.0);
}

TEST(SlewLimiter, ResetJumps) {
  SlewLimiter limiter(1.0, 5.0);
  limiter.reset(0.0);
  EXPECT_EQ(limiter.value(), 0.0);
}
