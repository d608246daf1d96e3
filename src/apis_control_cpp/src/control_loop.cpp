#include "apis_control/control_loop.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <time.h>

#include <algorithm>
#include <cmath>

namespace apis_control {

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t now_ns() noexcept {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * kSecondNs + time.tv_nsec;
}

double seconds(std::int64_t ns) noexcept { return static_cast<double>(ns) * 1e-9; }

}  // namespace

// --- stages
// -----------------------------------------------------------------------------------------------------------

Measurement MailboxStage::measure(double now_s) noexcept {
  const Dated dated = in_.read();
  return now_s - dated.at_s <= fresh_s_ ? dated.measurement : Measurement{};
}

// Every stage moves its own current; the first one moves the voltage.
struct SimulatedBus::State {
  explicit State(std::size_t stages)
      : actual_a(stages), meter_offset_a(stages), stage_offset_a(stages), temp_degc(stages) {}
  Parameters parameters;
  std::atomic<double> voltage_v{0.0};
  std::vector<std::atomic<double>> actual_a, meter_offset_a, stage_offset_a, temp_degc;
};

class SimulatedBus::Stage final : public PowerStage {
 public:
  Stage(std::shared_ptr<State> state, std::size_t index)
      : state_(std::move(state)), index_(index) {}

  Measurement measure(double now_s) noexcept override {
    State& s = *state_;
    const double dt_s = std::clamp(now_s - last_s_, 0.0, 0.1);
    last_s_ = now_s;
    const double share = -std::expm1(-dt_s / s.parameters.lag_s);
    double current_a = s.actual_a[index_].load(std::memory_order_relaxed);
    current_a +=
        (told_.is_on ? told_.current_a + s.stage_offset_a[index_].load(std::memory_order_relaxed) -
                           current_a
                     : -current_a) *
        (told_.is_on ? share : 1.0);
    s.actual_a[index_].store(current_a, std::memory_order_relaxed);
    double volts = s.voltage_v.load(std::memory_order_relaxed);
    if (index_ == 0) {
      double sum_a = volts / s.parameters.bleed_ohm;
      for (const auto& a : s.actual_a) sum_a += a.load(std::memory_order_relaxed);
      volts = std::max(volts - sum_a * dt_s / s.parameters.capacitance_f, 0.0);
      s.voltage_v.store(volts, std::memory_order_relaxed);
    }
    return {volts, current_a + s.meter_offset_a[index_].load(std::memory_order_relaxed), kNone,
            s.temp_degc[index_].load(std::memory_order_relaxed)};
  }
  void drive(const Actuation& actuation) noexcept override { told_ = actuation; }

 private:
  std::shared_ptr<State> state_;
  std::size_t index_;
  Actuation told_;
  double last_s_ = kNever;  // the first interval is empty
};

SimulatedBus::SimulatedBus(std::size_t stages, const Parameters& parameters)
    : state_(std::make_shared<State>(stages)) {
  state_->parameters = parameters;
  state_->voltage_v = parameters.start_v;
  for (auto& degc : state_->temp_degc) degc = 25.0;
  for (std::size_t i = 0; i < stages; ++i) stages_.push_back(std::make_shared<Stage>(state_, i));
}

double SimulatedBus::voltage_v() const noexcept {
  return state_->voltage_v.load(std::memory_order_relaxed);
}
double SimulatedBus::current_a(std::size_t index) const noexcept {
  return state_->actual_a[index].load(std::memory_order_relaxed);
}
void SimulatedBus::set_meter_offset_a(std::size_t index, double offset_a) noexcept {
  state_->meter_offset_a[index].store(offset_a, std::memory_order_relaxed);
}
void SimulatedBus::set_stage_offset_a(std::size_t index, double offset_a) noexcept {
  state_->stage_offset_a[index].store(offset_a, std::memory_order_relaxed);
}
void SimulatedBus::set_temp_degc(std::size_t index, double temp_degc) noexcept {
  state_->temp_degc[index].store(temp_degc, std::memory_order_relaxed);
}

// --- the loop
// ---------------------------------------------------------------------------------------------------------

double ControlLoop::now_s() noexcept { return seconds(now_ns()); }

ControlLoop::ControlLoop(std::shared_ptr<PowerStage> stage, const ConverterParameters& converter,
                         const ControlParameters& control, const Settings& settings)
    : stage_(std::move(stage)),
      controller_(converter, control),
      settings_(settings),
      waiting_since_s_(now_s()) {
  publish(now_s(), {});
  thread_ = std::thread(&ControlLoop::run, this);
}

ControlLoop::~ControlLoop() { end(); }

void ControlLoop::end() noexcept {
  is_end_asked_.store(true, std::memory_order_release);
  if (thread_.joinable()) thread_.join();
}

std::uint64_t ControlLoop::order(const Order& order) noexcept {
  const std::lock_guard lock(callers_);
  const std::uint64_t next = written_.load(std::memory_order_relaxed);
  if (next - taken_.load(std::memory_order_acquire) >= kQueue) return 0;
  queue_[next % kQueue] = order;
  written_.store(next + 1, std::memory_order_release);
  return next + 1;
}

void ControlLoop::take_orders(double now_s) noexcept {
  std::uint64_t next = taken_.load(std::memory_order_relaxed);
  const std::uint64_t end = written_.load(std::memory_order_acquire);
  for (; next != end; ++next) result_ = controller_.obey(queue_[next % kQueue], now_s);
  taken_.store(next, std::memory_order_release);
}

void ControlLoop::run() noexcept {
  pthread_setname_np(pthread_self(), "apis-control");
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);  // 50 us by default
  if (settings_.priority > 0) {
    sched_param parameters{};
    parameters.sched_priority = settings_.priority;
    is_realtime_.store(pthread_setschedparam(pthread_self(), SCHED_FIFO, &parameters) == 0,
                       std::memory_order_relaxed);
  }
  const auto period_ns = static_cast<std::int64_t>(std::llround(1e9 / settings_.rate_hz));
  std::int64_t last_ns = now_ns(), due_ns = last_ns + period_ns;
  while (!is_end_asked_.load(std::memory_order_acquire)) {
    const timespec due{due_ns / kSecondNs, due_ns % kSecondNs};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, nullptr) != 0) {
    }
    const std::int64_t woken_ns = now_ns();
    const double now = seconds(woken_ns);
    take_orders(now);
    const Actuation actuation =
        controller_.tick(stage_->measure(now), seconds(woken_ns - last_ns), now);
    stage_->drive(actuation);
    ++total_ticks_;
    publish(now, actuation);
    last_ns = woken_ns;

    if (is_reset_asked_.exchange(false, std::memory_order_relaxed)) {
      for (auto& bucket : late_us_) bucket.store(0, std::memory_order_relaxed);
      ticks_.store(0, std::memory_order_relaxed);
      misses_.store(0, std::memory_order_relaxed);
      latest_us_.store(0, std::memory_order_relaxed);
    }
    const auto late_us = static_cast<std::uint32_t>((woken_ns - due_ns) / 1000);
    late_us_[std::min<std::size_t>(late_us, kBuckets - 1)].fetch_add(1, std::memory_order_relaxed);
    if (late_us > latest_us_.load(std::memory_order_relaxed))
      latest_us_.store(late_us, std::memory_order_relaxed);
    ticks_.fetch_add(1, std::memory_order_relaxed);
    due_ns += period_ns;
    // Whole periods that went by are not made up for; the step just taken has covered their time.
    if (woken_ns >= due_ns) {
      const std::int64_t missed = (woken_ns - due_ns) / period_ns + 1;
      misses_.fetch_add(static_cast<std::uint64_t>(missed), std::memory_order_relaxed);
      due_ns += missed * period_ns;
    }
  }
  controller_.converter.finish();
  stage_->drive({});
  publish(now_s(), {});
  is_ended_.store(true, std::memory_order_release);
}

void ControlLoop::publish(double now, const Actuation& actuation) noexcept {
  const Converter& c = controller_.converter;
  if (was_active_ && !c.is_active()) waiting_since_s_ = now;
  was_active_ = c.is_active();
  Snapshot s;
  s.time_s = now;
  s.bus_v = controller_.bus_v();
  s.current_a = controller_.measured_a();
  s.ordered_a = actuation.current_a;
  s.trim_a = controller_.trim_a();
  s.temp_degc = c.temp_degc;
  s.charged_wh = c.charged_wh();
  s.discharged_wh = c.discharged_wh();
  s.battery_charged_wh = c.battery_charged_wh();
  s.battery_discharged_wh = c.battery_discharged_wh();
  s.moved_wh = c.moved_wh();
  s.voltage_setpoint_v = c.voltage_setpoint_v;
  s.current_setpoint_a = c.current_setpoint_a;
  s.droop_ratio = c.droop_ratio;
  s.energy_limit_wh = c.energy_limit_wh;
  s.hold_remaining_s = c.is_active() ? std::max(controller_.deadline_s() - now, 0.0) : 0.0;
  s.waiting_since_s = waiting_since_s_;
  s.stop_value = c.stop_value();
  s.stop_limit = c.stop_limit();
  s.ticks = total_ticks_;
  s.ticket = taken_.load(std::memory_order_relaxed);
  s.mode = c.mode;
  s.alarm = c.alarm;
  s.stop_cause = c.stop_cause;
  s.stop_reason = c.stop_reason();
  s.result = result_;
  s.is_stopping = c.is_stopping();
  snapshot_.write(s);
}

Timing ControlLoop::timing() const noexcept {
  Timing timing;
  std::uint64_t total = 0;
  for (const auto& bucket : late_us_) total += bucket.load(std::memory_order_relaxed);
  const auto percentile = [this, total](double share) {
    const double rank = share * static_cast<double>(total);
    std::uint64_t below = 0;
    for (std::size_t us = 0; us < kBuckets; ++us) {
      below += late_us_[us].load(std::memory_order_relaxed);
      if (static_cast<double>(below) >= rank) return static_cast<double>(us + 1);
    }
    return static_cast<double>(kBuckets);
  };
  timing.ticks = ticks_.load(std::memory_order_relaxed);
  timing.misses = misses_.load(std::memory_order_relaxed);
  timing.is_realtime = is_realtime_.load(std::memory_order_relaxed);
  timing.jitter_max_us = static_cast<double>(latest_us_.load(std::memory_order_relaxed));
  if (total > 0) {
    timing.jitter_p50_us = percentile(0.50);
    timing.jitter_p99_us = percentile(0.99);
    timing.jitter_p999_us = percentile(0.999);
  }
  return timing;
}

}  // namespace apis_control
