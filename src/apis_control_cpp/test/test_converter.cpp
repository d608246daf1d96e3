#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "apis_control/converter.hpp"

using namespace apis_control;

namespace {

// A current source at 350 V, in steps that end on its own reckoning of when to stop.
double moved_wh(double limit_wh, double current_a, double next_a = 0.0) {
  Converter converter;
  converter.start(Mode::kCharge, 350.0, limit_wh);
  converter.current_setpoint_a = current_a;
  converter.next_current_a = next_a;
  double reached_wh = kNone;
  while (converter.is_active()) {
    double dt_s = 0.1;
    const double due_s = converter.time_to_stop(350.0);
    if (due_s <= 1e-9) {
      if (converter.next_current_a > 0.0) {
        converter.go_on_with_less();
        reached_wh = limit_wh;
      } else {
        converter.stop(StopCause::kEnergyReached, true, StopReason::kEnergyReached, 0.0, limit_wh);
      }
    } else {
      dt_s = std::min(dt_s, due_s);
    }
    converter.count(converter.move_current(350.0, dt_s) * 350.0, dt_s);
    if (converter.is_stopping() && converter.current_a == 0.0) converter.finish();
    if (!std::isnan(reached_wh) && converter.current_a == next_a) return converter.moved_wh();
  }
  return converter.charged_wh();
}

}  // namespace

TEST(Converter, MeetsItsEnergyLimitWithTheRampDownForeseen) {
  for (const double limit_wh : {0.01, 0.1, 1.0, 50.0}) {
    for (const double current_a : {0.5, 2.0, 7.0})
      EXPECT_NEAR(moved_wh(limit_wh, current_a), limit_wh, 1e-9);
  }
}

TEST(Converter, GoesOnWithLessExactlyAtTheLimitOfTheFirstShare) {
  // Of 3 A one share of 1 A leaves within a second, in which 3 to 2 A flow. What it moves
  // meanwhile, half of 350 Ws, is a third of 525 Ws; so it starts to leave 525 Ws before the
  // limit, and 875 Ws later it has left.
  EXPECT_NEAR(moved_wh(3.0, 3.0, 2.0), 3.0 + (875.0 - 525.0) / 3600.0, 1e-9);
}

TEST(Converter, FirstCauseOfAStopStays) {
  Converter converter;
  converter.start(Mode::kCharge, 350.0, kNone);
  converter.current_a = 1.0;
  converter.stop(StopCause::kHoldExpired, true, "not renewed");
  converter.stop(StopCause::kEnergyReached, true, "something else");
  converter.finish();
  EXPECT_EQ(converter.stop_cause, StopCause::kHoldExpired);
  EXPECT_EQ(converter.stop_detail(), "not renewed");
}

TEST(Converter, LongTextsAreCut) {
  Converter converter;
  converter.start(Mode::kCharge, 350.0, kNone);
  converter.trip(std::string(1000, 'x'));
  EXPECT_EQ(converter.stop_detail().size(), 159U);
}

TEST(Converter, TripsSayWhatAndWhere) {
  Converter converter;
  converter.start(Mode::kDischarge, 350.0, kNone);
  EXPECT_FALSE(converter.protect(400.0));
  EXPECT_TRUE(converter.protect(400.1));
  EXPECT_EQ(converter.stop_detail(), "over-voltage: 400.1 V, limit 400 V");
  EXPECT_EQ(converter.alarm, Alarm::kLight);  // of the bus, not of the converter
  converter.start(Mode::kDischarge, 350.0, kNone);
  converter.parameters.over_temp_trip_degc = 60.0;
  converter.temp_degc = 61.0;
  EXPECT_TRUE(converter.protect(350.0));
  EXPECT_EQ(converter.alarm, Alarm::kHeavy);
}
