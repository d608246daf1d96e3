// The dead man of a serial port: says WAIT to a converter when the program above has gone silent.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace apis_control {

/// Turns the sender of a half-duplex line on and off. Lines that turn by themselves need none.
class SendSwitch {
 public:
  virtual ~SendSwitch() = default;
  /// Both return 0, or an errno. Called with the port locked.
  virtual int on() = 0;
  virtual int off() = 0;
};

/// The sender is on while RTS is (or is not).
class RtsSwitch : public SendSwitch {
 public:
  RtsSwitch(int fd, bool is_active_high) : fd_(fd), is_active_high_(is_active_high) {}
  int on() override { return set(is_active_high_); }
  int off() override { return set(!is_active_high_); }

 private:
  int set(bool is_high) const;
  int fd_;
  bool is_active_high_;
};

/// The sender is on while a GPIO line is (or is not): the first line of a request that libgpiod
/// made.
class GpioSwitch : public SendSwitch {
 public:
  /// Args: descriptor of the line request (`gpiod.LineRequest.fd`); duplicated.
  GpioSwitch(int request_fd, bool is_active_high);
  ~GpioSwitch() override;
  GpioSwitch(const GpioSwitch&) = delete;
  GpioSwitch& operator=(const GpioSwitch&) = delete;
  int on() override { return set(is_active_high_); }
  int off() override { return set(!is_active_high_); }

 private:
  int set(bool is_high) const;
  int fd_;
  bool is_active_high_;
};

/// What a guard does when it must act.
struct GuardSettings {
  std::chrono::nanoseconds repeat_every{
      std::chrono::milliseconds(200)};  ///< > 0; longer than a reply takes
  int times = 10;                       ///< the frame is written so often, >= 1
  std::chrono::nanoseconds write_within{
      std::chrono::milliseconds(500)};  ///< longest hold of the port, > 0
};

/// Writes a prepared frame to a port when nobody has renewed in time.
///
/// A thread of its own waits on a steady clock; it needs no lock of the program above except the
/// one of the port, which is never held for longer than `write_within`. All writes of the program
/// go through write(), so that a frame is never written into the middle of another one.
///
/// It outlives a program that hangs, not one that is killed or stopped as a whole: then nothing in
/// the process runs.
class PortGuard {
 public:
  using Clock = std::chrono::steady_clock;
  using Bytes = std::vector<std::uint8_t>;

  /// Args: a descriptor of the open port, which is duplicated: closing the original does not turn
  /// the guard's writes onto another file. The port becomes non-blocking. `sender` may be null.
  /// Throws std::system_error when the descriptor is not open.
  PortGuard(int fd, Bytes frame, GuardSettings settings = {},
            std::unique_ptr<SendSwitch> sender = nullptr);
  ~PortGuard();
  PortGuard(const PortGuard&) = delete;
  PortGuard& operator=(const PortGuard&) = delete;

  /// From now on the frame is written after `hold` (> 0), unless there is another renewal. False,
  /// and nothing changes, when it has fired, or is closed: what is to be renewed has been stopped
  /// already.
  bool renew(std::chrono::nanoseconds hold);
  /// Stop waiting and repeating. Returns whether it had fired, and forgets that: the program has
  /// seen it.
  bool disarm();
  void set_frame(Bytes frame);

  /// Write all of it. Returns 0, or an errno: ETIMEDOUT when the port takes no more bytes, and
  /// ECANCELED, with nothing written, when it has fired and the program does not know yet. Else a
  /// program that wakes up late would switch on again what has just been switched off.
  int write(const Bytes& bytes);

  /// Let the port go; armed, it writes the frame a last time. Returns when its thread has ended.
  void close();

  [[nodiscard]] bool is_armed() const;
  [[nodiscard]] bool has_fired() const { return has_fired_.load(); }
  /// Frames that it has written, since the start.
  [[nodiscard]] std::uint64_t written() const { return written_.load(); }
  /// errno of its own last write; 0 = that went well, or there was none.
  [[nodiscard]] int last_error() const { return last_error_.load(); }

 private:
  void watch();
  void say_wait();
  int send(const Bytes& bytes);
  int put(const Bytes& bytes) const;

  const int fd_;
  const GuardSettings settings_;
  const std::unique_ptr<SendSwitch> sender_;

  std::timed_mutex port_;  // before state_, where both are held

  mutable std::mutex state_;
  std::condition_variable changed_;
  Bytes frame_;
  Clock::time_point due_ = Clock::time_point::max();  // max = not armed
  int left_ = 0;                                      // repeats to come once it has fired
  bool is_closed_ = false;

  std::atomic<bool> has_fired_{false};
  std::atomic<std::uint64_t> written_{0};
  std::atomic<int> last_error_{0};
  std::thread thread_;
};

}  // namespace apis_control
