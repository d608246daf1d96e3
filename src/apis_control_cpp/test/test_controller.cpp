#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "apis_control/controller.hpp"
#include "counting.hpp"

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define COUNTS 1
// In front of those of the C library.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  if (counting::is_on) counting::allocations.fetch_add(1, std::memory_order_relaxed);
  return __libc_malloc(size);
}
extern "C" int pthread_mutex_lock(pthread_mutex_t* mutex) noexcept {
  using Lock = int (*)(pthread_mutex_t*);
  static const auto lock = reinterpret_cast<Lock>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
  if (counting::is_on) counting::locks.fetch_add(1, std::memory_order_relaxed);
  return lock(mutex);
}
#else
#define COUNTS 0
#endif

bool counting::is_possible() { return COUNTS != 0; }

using namespace apis_control;

namespace {

Order mode(Mode mode, double current_a, double hold_s = 1e6) {
  Order order;
  order.kind = OrderKind::kMode;
  order.mode = mode;
  order.current_a = current_a;
  order.hold_s = hold_s;
  return order;
}

/// A controller with a power stage that follows at once, on a bus that is held.
struct Rig {
  explicit Rig(const ConverterParameters& parameters = {}) : controller(parameters) {}
  void run(double seconds, double dt_s = 0.001) {
    for (double end_s = now_s + seconds; now_s < end_s - 0.5 * dt_s;) {
      now_s += dt_s;
      if (capacitance_f > 0.0) bus_v -= told.current_a * dt_s / capacitance_f;
      told = controller.tick(
          {bus_v, told.current_a + offset_a * (told.current_a != 0.0), kNone, degc}, dt_s, now_s);
    }
  }
  Controller controller;
  Actuation told;
  double bus_v = 350.0, offset_a = 0.0, degc = 25.0, now_s = 10.0;
  double capacitance_f = 0.0;  // 0 = somebody else holds the bus
};

}  // namespace

TEST(Controller, FollowsItsReferenceAtItsSlewRate) {
  Rig rig;
  rig.controller.obey(mode(Mode::kCharge, 2.0), rig.now_s);
  rig.run(1.0);
  EXPECT_NEAR(rig.told.current_a, 1.0, 1e-9);
  rig.run(2.0);
  EXPECT_EQ(rig.told.current_a, 2.0);
}

TEST(Controller, CompensatesWhatThePowerStageIsOff) {
  Rig rig;
  rig.offset_a = 0.1;
  rig.controller.obey(mode(Mode::kDischarge, 2.0), rig.now_s);
  rig.run(10.0);
  EXPECT_NEAR(rig.controller.measured_a(), -2.0, 1e-3);
  rig.offset_a = 1.0;  // more than it may
  rig.run(10.0);
  EXPECT_NEAR(rig.controller.trim_a(), -0.2, 1e-12);
}

TEST(Controller, StopsByItselfAtTheAgreedEnergy) {
  for (const double current_a : {0.3, 2.0, 7.0}) {
    Rig rig;
    Order order = mode(Mode::kCharge, current_a);
    order.energy_limit_wh = 2.0;
    rig.controller.obey(order, rig.now_s);
    rig.run(200.0);
    EXPECT_EQ(rig.controller.converter.stop_cause, StopCause::kEnergyReached);
    EXPECT_NEAR(rig.controller.converter.charged_wh(), 2.0,
                0.0005);  // half a tick of 2.5 kW, and a sample's trapezoid
  }
}

TEST(Controller, TripsAtTheNextTick) {
  ConverterParameters parameters;
  parameters.over_current_trip_a = 3.0;
  parameters.over_temp_trip_degc = 60.0;
  struct Case {
    double bus_v, offset_a, degc;
    StopReason reason;
  };
  for (const Case& wrong : {Case{401.0, 0.0, 25.0, StopReason::kOverVoltage},
                            Case{259.0, 0.0, 25.0, StopReason::kUnderVoltage},
                            Case{350.0, 1.5, 25.0, StopReason::kOverCurrent},
                            Case{350.0, 0.0, 61.0, StopReason::kOverTemperature}}) {
    Rig rig(parameters);
    rig.controller.obey(mode(Mode::kCharge, 2.0), rig.now_s);
    rig.run(3.0);
    ASSERT_TRUE(rig.told.is_on);
    rig.bus_v = wrong.bus_v, rig.offset_a = wrong.offset_a, rig.degc = wrong.degc;
    rig.run(0.001);
    EXPECT_FALSE(rig.told.is_on);
    EXPECT_EQ(rig.told.current_a, 0.0);
    EXPECT_EQ(rig.controller.converter.stop_reason(), wrong.reason);
    EXPECT_EQ(rig.controller.converter.mode, Mode::kWait);
  }
}

TEST(Controller, TripsWhenTheMetersAreSilent) {
  Rig rig;
  rig.controller.obey(mode(Mode::kCharge, 2.0), rig.now_s);
  rig.run(3.0);
  rig.bus_v = kNone;
  rig.run(0.099);
  EXPECT_TRUE(rig.told.is_on);
  rig.run(0.005);
  EXPECT_EQ(rig.controller.converter.stop_reason(), StopReason::kNoMeasurement);
}

TEST(Controller, IsInWaitWithinTheHoldTimeUnlessRenewed) {
  for (const Mode kind : {Mode::kCharge, Mode::kDischarge, Mode::kVoltageReference}) {
    for (const double hold_s : {0.05, 1.0, 5.0, 20.0}) {
      Rig rig;
      if (kind == Mode::kVoltageReference) rig.capacitance_f = 4e-3;
      rig.run(0.01);
      rig.controller.obey(mode(kind, 2.0, hold_s), rig.now_s);
      Order renewal;
      renewal.hold_s = hold_s;
      for (int i = 0; i < 20; ++i) {
        rig.run(0.4 * hold_s);
        ASSERT_EQ(rig.controller.obey(renewal, rig.now_s), OrderResult::kObeyed) << hold_s;
      }
      ASSERT_TRUE(rig.told.is_on);
      rig.run(hold_s + 0.002);
      EXPECT_FALSE(rig.told.is_on);
      EXPECT_EQ(rig.controller.converter.stop_cause, StopCause::kHoldExpired);
    }
  }
}

TEST(Controller, HoldsTheVoltageWithoutWindingUp) {
  Controller controller;
  double bus_v = 0.0, told_a = 0.0, load_a = 0.0, now_s = 0.0, highest_v = 0.0;
  const auto run = [&](double seconds) {
    for (const double end_s = now_s + seconds; now_s < end_s; now_s += 0.001) {
      bus_v = std::max(bus_v - (told_a + load_a) * 0.001 / 4e-3, 0.0);
      highest_v = std::max(highest_v, bus_v);
      told_a = controller.tick({bus_v, told_a}, 0.001, now_s).current_a;
    }
  };
  Order order = mode(Mode::kVoltageReference, 2.0);
  order.voltage_v = 350.0;
  controller.obey(order, now_s);
  run(15.0);
  EXPECT_NEAR(bus_v, 350.0, 0.05);
  load_a = 1.9;
  run(5.0);
  EXPECT_NEAR(bus_v, 350.0, 0.05);
  load_a = 2.1;  // more than its limit, for a short while
  run(0.3);
  EXPECT_LT(bus_v, 345.0);
  load_a = 0.5;
  highest_v = 0.0;
  run(5.0);
  EXPECT_NEAR(bus_v, 350.0, 0.05);
  EXPECT_LT(highest_v, 354.0);  // what the step of the load alone makes: 1.6 A / 0.4 A/V; a
                                // wound-up integral shoots over
  load_a = 3.0;
  run(1.0);
  EXPECT_EQ(controller.converter.stop_cause, StopCause::kTrip);
}

TEST(Controller, ReferenceRunsAheadOfTheMeterByNoMoreThanAStep) {
  Controller controller({}, [] {
    ControlParameters control;
    control.current_step_a = 0.2;
    return control;
  }());
  controller.obey(mode(Mode::kCharge, 2.0), 0.0);
  for (int i = 1; i < 5000; ++i)
    controller.tick({350.0, 0.5}, 0.001, 0.001 * i);  // a stage that hangs at 0.5 A
  EXPECT_NEAR(controller.ramp_a(), 0.7, 2e-3);
}

TEST(Controller, TickNeitherAllocatesNorLocks) {
  if (!counting::is_possible()) GTEST_SKIP() << "a sanitizer has the allocator";
  free(malloc(1));
  counting::is_on = true;
  free(malloc(1));
  counting::is_on = false;
  ASSERT_GT(counting::allocations.exchange(0), 0) << "the count itself does not work";
  Rig rig;
  Order order = mode(Mode::kCharge, 2.0, 3.0);
  order.energy_limit_wh = 0.3;
  counting::is_on = true;
  rig.controller.obey(order, rig.now_s);
  rig.run(4.0);  // to the energy limit
  rig.controller.obey(mode(Mode::kVoltageReference, 2.0, 1.0), rig.now_s);
  rig.run(2.0);  // to the end of its hold
  rig.controller.obey(mode(Mode::kDischarge, 2.0), rig.now_s);
  rig.run(1.0);
  rig.bus_v = 500.0;
  rig.run(0.1);  // a trip
  counting::is_on = false;
  EXPECT_EQ(rig.controller.converter.stop_cause, StopCause::kTrip);
  EXPECT_EQ(counting::allocations, 0);
  EXPECT_EQ(counting::locks, 0);
}
