// The real-time loop of one converter: a thread of its own, at a fixed rate, that nobody else can
// hold up.
//
// Orders go in through a lock-free queue, state comes out through a seqlock. Nothing on the tick
// allocates, locks or throws. POSIX (clock_nanosleep); firmware takes controller.hpp and its own
// timer.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "apis_control/controller.hpp"
#include "apis_control/seqlock.hpp"

namespace apis_control {

/// The hardware, as the loop sees it. Both are called from the loop's thread, once a tick, and
/// must not block.
class PowerStage {
 public:
  virtual ~PowerStage() = default;
  virtual Measurement measure(double now_s) noexcept = 0;
  virtual void drive(const Actuation& actuation) noexcept = 0;
};

/// Meters and power stage at the far end of a slow line (a serial device): a driver posts what it
/// reads, and fetches what to send. The loop sees each reading until the next, but none that is
/// older than `fresh_s`.
class MailboxStage final : public PowerStage {
 public:
  explicit MailboxStage(double fresh_s) noexcept : fresh_s_(fresh_s) {}
  void post(const Measurement& measurement, double now_s) noexcept {
    in_.write({measurement, now_s});
  }
  [[nodiscard]] Actuation fetch() const noexcept { return out_.read(); }
  Measurement measure(double now_s) noexcept override;
  void drive(const Actuation& actuation) noexcept override { out_.write(actuation); }

 private:
  struct Dated {
    Measurement measurement;
    double at_s = -kNever;
  };
  double fresh_s_;
  Seqlock<Dated> in_;
  Seqlock<Actuation> out_;
};

/// A bus with a capacitance and power stages that follow with a lag: to try loops against, in real
/// time.
class SimulatedBus {
 public:
  struct Parameters {
    double capacitance_f = 4e-3;  // [F]
    double lag_s = 2e-3;          // [s] of a power stage
    double bleed_ohm = 25e3;      // [ohm] what discharges an abandoned bus
    double start_v = 0.0;         // [V]
  };
  SimulatedBus(std::size_t stages, const Parameters& parameters);
  [[nodiscard]] std::shared_ptr<PowerStage> stage(std::size_t index) const {
    return stages_[index];
  }
  [[nodiscard]] std::size_t size() const noexcept { return stages_.size(); }
  [[nodiscard]] double voltage_v() const noexcept;
  [[nodiscard]] double current_a(std::size_t index) const noexcept;
  /// The meter of a stage reads so much too much; a stage carries so much more than it is told.
  /// [A]
  void set_meter_offset_a(std::size_t index, double offset_a) noexcept;
  void set_stage_offset_a(std::size_t index, double offset_a) noexcept;
  void set_temp_degc(std::size_t index, double temp_degc) noexcept;

 private:
  struct State;
  class Stage;
  std::shared_ptr<State> state_;
  std::vector<std::shared_ptr<PowerStage>> stages_;
};

/// The loop's state after a tick, all of one instant.
struct Snapshot {
  double time_s = 0.0;  ///< Steady clock.
  double bus_v = 0.0, current_a = 0.0, ordered_a = 0.0, trim_a = 0.0, temp_degc = 0.0;
  double charged_wh = 0.0, discharged_wh = 0.0, battery_charged_wh = 0.0,
         battery_discharged_wh = 0.0, moved_wh = 0.0;
  double voltage_setpoint_v = 0.0, current_setpoint_a = 0.0, droop_ratio = 0.0,
         energy_limit_wh = kNone;
  double hold_remaining_s = 0.0;
  double waiting_since_s = 0.0;  ///< Steady clock, when it last came to WAIT.
  double stop_value = 0.0, stop_limit = 0.0;
  std::uint64_t ticks = 0, ticket = 0;
  Mode mode = Mode::kWait;
  Alarm alarm = Alarm::kNone;
  StopCause stop_cause = StopCause::kNone;
  StopReason stop_reason = StopReason::kNone;
  OrderResult result = OrderResult::kNone;  ///< Of the order `ticket`.
  bool is_stopping = false;
};

/// How late ticks began, and how many did not begin before the next was due.
struct Timing {
  std::uint64_t ticks = 0, misses = 0;
  double jitter_p50_us = 0.0, jitter_p99_us = 0.0, jitter_p999_us = 0.0, jitter_max_us = 0.0;
  bool is_realtime = false;  ///< The scheduler granted a real-time priority.
};

class ControlLoop {
 public:
  struct Settings {
    double rate_hz = 1000.0;
    int priority =
        0;  ///< SCHED_FIFO, 1..99; 0 = none. If it is not granted, the loop runs without.
  };

  ControlLoop(std::shared_ptr<PowerStage> stage, const ConverterParameters& converter,
              const ControlParameters& control, const Settings& settings);
  /// Switches the power stage off, and waits for the thread.
  ~ControlLoop();
  ControlLoop(const ControlLoop&) = delete;
  ControlLoop& operator=(const ControlLoop&) = delete;

  /// Give an order; returns its ticket, or 0 if the queue is full. The snapshot says what became
  /// of it.
  std::uint64_t order(const Order& order) noexcept;
  [[nodiscard]] Snapshot snapshot() const noexcept { return snapshot_.read(); }
  [[nodiscard]] Timing timing() const noexcept;
  void reset_timing() noexcept { is_reset_asked_.store(true, std::memory_order_relaxed); }
  /// End the loop: off at once.
  void end() noexcept;
  [[nodiscard]] bool is_running() const noexcept {
    return !is_ended_.load(std::memory_order_acquire);
  }
  [[nodiscard]] double rate_hz() const noexcept { return settings_.rate_hz; }

  /// Seconds on the loop's clock.
  [[nodiscard]] static double now_s() noexcept;

 private:
  static constexpr std::size_t kQueue = 64;  // a power of two
  static constexpr std::size_t kBuckets =
      10000;  // of one microsecond; the last one has all that is later

  void run() noexcept;
  void take_orders(double now_s) noexcept;
  void publish(double now_s, const Actuation& actuation) noexcept;

  std::shared_ptr<PowerStage> stage_;
  Controller controller_;
  Settings settings_;

  std::mutex callers_;  // of those that give orders; the loop never takes it
  std::array<Order, kQueue> queue_{};
  alignas(64) std::atomic<std::uint64_t> written_{0};
  alignas(64) std::atomic<std::uint64_t> taken_{0};
  Seqlock<Snapshot> snapshot_;

  std::array<std::atomic<std::uint32_t>, kBuckets> late_us_{};
  std::atomic<std::uint64_t> ticks_{0}, misses_{0};
  std::atomic<std::uint32_t> latest_us_{0};
  std::atomic<bool> is_reset_asked_{false}, is_realtime_{false}, is_end_asked_{false},
      is_ended_{false};
  std::uint64_t total_ticks_ = 0;
  OrderResult result_ = OrderResult::kNone;
  double waiting_since_s_ = 0.0;
  bool was_active_ = false;
  std::thread thread_;
};

}  // namespace apis_control
