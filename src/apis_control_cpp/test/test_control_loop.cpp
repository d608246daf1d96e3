#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <thread>
#include <vector>

#include "apis_control/control_loop.hpp"
#include "counting.hpp"

using namespace apis_control;
using namespace std::chrono_literals;

namespace {

Order mode(Mode mode, double current_a, double hold_s) {
  Order order;
  order.kind = OrderKind::kMode;
  order.mode = mode;
  order.current_a = current_a;
  order.voltage_v = 350.0;
  order.hold_s = hold_s;
  return order;
}

template <typename Condition>
bool waited(Condition condition) {
  const auto end = std::chrono::steady_clock::now() + 30s;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

ConverterParameters quick() {
  ConverterParameters parameters;
  parameters.current_slew_a_per_s = 20.0;
  parameters.voltage_up_v_per_s = 1000.0;
  parameters.voltage_down_v_per_s = 1000.0;
  return parameters;
}

class CountingStage final : public PowerStage {
 public:
  explicit CountingStage(std::shared_ptr<PowerStage> inner) : inner_(std::move(inner)) {}
  Measurement measure(double now_s) noexcept override {
    counting::is_on = true;  // from here on, this thread for good
    return inner_->measure(now_s);
  }
  void drive(const Actuation& actuation) noexcept override { inner_->drive(actuation); }

 private:
  std::shared_ptr<PowerStage> inner_;
};

}  // namespace

TEST(Seqlock, ReadersSeeWhatWasWrittenTogether) {
  struct Pair {
    std::uint64_t a = 0, b = 0;
    std::uint64_t more[20] = {};
  };
  Seqlock<Pair> lock;
  std::atomic<bool> is_over{false};
  std::thread writer([&] {
    for (std::uint64_t i = 0; !is_over; ++i) {
      Pair pair;
      pair.a = i;
      pair.b = ~i;
      pair.more[19] = i;
      lock.write(pair);
    }
  });
  std::uint64_t last = 0;
  for (int i = 0; i < 20'000; ++i) {
    const Pair pair = lock.read();
    if (pair.a == 0) continue;
    ASSERT_EQ(pair.b, ~pair.a);
    ASSERT_EQ(pair.more[19], pair.a);
    ASSERT_GE(pair.a, last);
    last = pair.a;
  }
  is_over = true;
  writer.join();
}

TEST(ControlLoop, DealBetweenTwoLoopsEndsByItself) {
  SimulatedBus::Parameters parameters;
  parameters.capacitance_f = 0.5;  // so that a loaded test machine does not lose the bus
  parameters.start_v = 345.0;
  SimulatedBus bus(2, parameters);
  ConverterParameters slow = quick();
  slow.voltage_up_v_per_s = 5.0;  // 2.5 A into 0.5 F
  ControlLoop reference(std::make_shared<CountingStage>(bus.stage(0)), slow, {}, {});
  ControlLoop source(std::make_shared<CountingStage>(bus.stage(1)), quick(), {}, {});
  counting::allocations = counting::locks = 0;
  reference.order(mode(Mode::kVoltageReference, 7.0, 60.0));
  ASSERT_TRUE(waited([&] { return reference.snapshot().bus_v > 348.0; }));
  Order deal = mode(Mode::kCharge, 2.0, 60.0);
  deal.energy_limit_wh = 0.2;
  source.order(deal);
  ASSERT_TRUE(waited([&] { return source.snapshot().stop_cause != StopCause::kNone; }));
  const Snapshot end = source.snapshot();
  EXPECT_EQ(end.stop_cause, StopCause::kEnergyReached)
      << stop_text(end.stop_reason, end.stop_value, end.stop_limit);
  // What flows, or does not, while the machine lets the loop wait is nobody's fault here.
  EXPECT_NEAR(end.charged_wh, 0.2,
              0.0005 + 750.0 * (source.timing().jitter_max_us * 1e-6) / 3600.0);
  if (counting::is_possible()) {
    EXPECT_EQ(counting::allocations, 0);
    EXPECT_EQ(counting::locks, 0);
  }
  EXPECT_GT(source.timing().ticks, 100U);
}

TEST(ControlLoop, DeadManEndsWithinTheHoldTime) {
  SimulatedBus::Parameters parameters;
  parameters.start_v = 350.0;
  parameters.capacitance_f = 1.0;
  SimulatedBus bus(1, parameters);
  ControlLoop loop(bus.stage(0), quick(), {}, {});
  const double before_s = ControlLoop::now_s();
  loop.order(mode(Mode::kDischarge, 1.0, 0.5));
  ASSERT_TRUE(waited([&] { return loop.snapshot().mode == Mode::kDischarge; }));
  ASSERT_TRUE(waited([&] { return loop.snapshot().mode == Mode::kWait; }));
  const Snapshot end = loop.snapshot();
  EXPECT_EQ(end.stop_cause, StopCause::kHoldExpired);
  EXPECT_GT(end.waiting_since_s - before_s, 0.4);
}

TEST(ControlLoop, OrdersOfManyThreadsAreAllTaken) {
  SimulatedBus bus(1, {});
  ControlLoop loop(bus.stage(0), quick(), {}, {});
  std::vector<std::thread> callers;
  std::atomic<std::uint64_t> given{0};
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int k = 0; k < 200; ++k) {
        Order order;
        order.hold_s = 1.0;
        given += loop.order(order) != 0;
      }
    });
  }
  for (auto& caller : callers) caller.join();
  ASSERT_TRUE(waited([&] { return loop.snapshot().ticket == given; }));
  EXPECT_EQ(loop.snapshot().result, OrderResult::kNotActive);
}

TEST(ControlLoop, EndSwitchesOff) {
  SimulatedBus::Parameters parameters;
  parameters.start_v = 350.0;
  parameters.capacitance_f = 1.0;
  SimulatedBus bus(1, parameters);
  ControlLoop loop(bus.stage(0), quick(), {}, {});
  loop.order(mode(Mode::kDischarge, 1.0, 60.0));
  ASSERT_TRUE(waited([&] { return loop.snapshot().ordered_a < -0.7; }));
  loop.end();
  EXPECT_FALSE(loop.is_running());
  EXPECT_EQ(loop.snapshot().mode, Mode::kWait);
}

TEST(MailboxStage, ForgetsWhatIsTooOld) {
  MailboxStage stage(0.5);
  EXPECT_TRUE(std::isnan(stage.measure(1.0).bus_v));
  stage.post({350.0, 1.0, kNone, kNone}, 10.0);
  EXPECT_EQ(stage.measure(10.5).bus_v, 350.0);
  EXPECT_TRUE(std::isnan(stage.measure(10.51).bus_v));
  stage.drive({true, 1.5});
  EXPECT_EQ(stage.fetch().current_a, 1.5);
}
