#include "apis_control/port_guard.hpp"

#include <fcntl.h>
#include <linux/gpio.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <system_error>
#include <utility>

namespace apis_control {

namespace {

using Clock = PortGuard::Clock;

int duplicate(int fd) {
  const int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (copy < 0) {
    throw std::system_error(errno, std::generic_category(), "descriptor " + std::to_string(fd));
  }
  return copy;
}

/// Signals are for the threads above.
void block_signals() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
}

}  // namespace

int RtsSwitch::set(bool is_high) const {
  const int line = TIOCM_RTS;
  return ioctl(fd_, is_high ? TIOCMBIS : TIOCMBIC, &line) == 0 ? 0 : errno;
}

GpioSwitch::GpioSwitch(int request_fd, bool is_active_high)
    : fd_(duplicate(request_fd)), is_active_high_(is_active_high) {}

GpioSwitch::~GpioSwitch() { ::close(fd_); }

int GpioSwitch::set(bool is_high) const {
  gpio_v2_line_values values{};
  values.mask = 1;
  values.bits = is_high ? 1 : 0;
  return ioctl(fd_, GPIO_V2_LINE_SET_VALUES_IOCTL, &values) == 0 ? 0 : errno;
}

PortGuard::PortGuard(int fd, Bytes frame, GuardSettings settings,
                     std::unique_ptr<SendSwitch> sender)
    : fd_(duplicate(fd)),
      settings_(settings),
      sender_(std::move(sender)),
      frame_(std::move(frame)) {
  const int flags = fcntl(fd_, F_GETFL);
  fcntl(fd_, F_SETFL, flags | O_NONBLOCK);
  thread_ = std::thread([this] { watch(); });
}

PortGuard::~PortGuard() {
  close();
  ::close(fd_);
}

bool PortGuard::renew(std::chrono::nanoseconds hold) {
  {
    const std::lock_guard<std::mutex> lock(state_);
    if (is_closed_ || has_fired_) {
      return false;
    }
    const auto now = Clock::now();
    // A deadline beyond the end of time is none.
    due_ = hold < Clock::time_point::max() - now ? now + hold : Clock::time_point::max();
  }
  changed_.notify_all();
  return true;
}

bool PortGuard::disarm() {
  bool had_fired = false;
  {
    const std::lock_guard<std::mutex> lock(state_);
    due_ = Clock::time_point::max();
    left_ = 0;
    had_fired = has_fired_.exchange(false);
  }
  changed_.notify_all();
  return had_fired;
}

void PortGuard::set_frame(Bytes frame) {
  const std::lock_guard<std::mutex> lock(state_);
  frame_ = std::move(frame);
}

int PortGuard::write(const Bytes& bytes) {
  const std::unique_lock<std::timed_mutex> lock(port_, 2 * settings_.write_within);
  if (!lock.owns_lock()) {
    return ETIMEDOUT;
  }
  {
    // With the port locked: a guard that fires later than this writes later, too, and has the last
    // word.
    const std::lock_guard<std::mutex> state(state_);
    if (is_closed_) {
      return EBADF;
    }
    if (has_fired_) {
      return ECANCELED;
    }
  }
  return send(bytes);
}

void PortGuard::close() {
  bool was_armed = false;
  {
    const std::lock_guard<std::mutex> lock(state_);
    was_armed = !is_closed_ && !has_fired_ && due_ != Clock::time_point::max();
    is_closed_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) {
    thread_.join();
  }
  if (was_armed) {
    say_wait();
  }
}

bool PortGuard::is_armed() const {
  const std::lock_guard<std::mutex> lock(state_);
  return due_ != Clock::time_point::max();
}

void PortGuard::watch() {
  block_signals();
  std::unique_lock<std::mutex> lock(state_);
  while (!is_closed_) {
    if (due_ == Clock::time_point::max()) {
      changed_.wait(lock);
      continue;
    }
    if (Clock::now() < due_) {
      const auto due = due_;  // wait_until keeps a reference
      changed_.wait_until(lock, due);
      continue;
    }
    if (!has_fired_) {
      has_fired_ = true;
      left_ = settings_.times;
    }
    --left_;
    due_ = left_ > 0 ? Clock::now() + settings_.repeat_every : Clock::time_point::max();
    lock.unlock();
    say_wait();
    lock.lock();
  }
}

void PortGuard::say_wait() {
  Bytes frame;
  {
    const std::lock_guard<std::mutex> lock(state_);
    frame = frame_;
  }
  const std::unique_lock<std::timed_mutex> lock(port_, 2 * settings_.write_within);
  last_error_ = lock.owns_lock() ? send(frame) : ETIMEDOUT;
  if (last_error_ == 0) {
    ++written_;
  }
}

int PortGuard::send(const Bytes& bytes) {
  if (!sender_) {
    return put(bytes);
  }
  if (const int error = sender_->on()) {
    return error;
  }
  int error = put(bytes);
  if (error == 0 && tcdrain(fd_) != 0 && errno != ENOTTY && errno != EINVAL) {
    error = errno;
  }
  const int off_error =
      sender_->off();  // also after an error: else nobody on the line can be heard
  return error != 0 ? error : off_error;
}

int PortGuard::put(const Bytes& bytes) const {
  const auto deadline = Clock::now() + settings_.write_within;
  std::size_t done = 0;
  while (done < bytes.size()) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left < 0) {
      return ETIMEDOUT;
    }
    // Poll first: a descriptor that blocks must not hold the port for ever.
    pollfd port{fd_, POLLOUT, 0};
    const int ready = poll(&port, 1, static_cast<int>(left) + 1);
    if (ready < 0 && errno != EINTR) {
      return errno;
    }
    if (ready <= 0) {
      continue;
    }
    if ((port.revents & (POLLERR | POLLHUP | POLLNVAL)) != 0) {
      return EIO;
    }
    const ssize_t count = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
      return errno;
    }
  }
  return 0;
}

}  // namespace apis_control
