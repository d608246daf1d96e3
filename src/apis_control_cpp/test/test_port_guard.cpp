#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "apis_control/port_guard.hpp"

using apis_control::GuardSettings;
using apis_control::PortGuard;
using apis_control::SendSwitch;
using namespace std::chrono_literals;

namespace {

using Bytes = PortGuard::Bytes;
using Clock = PortGuard::Clock;

// The real WAIT of an EZA2500 at the shipped addresses.
const Bytes kWait{0x05, 0x02, 0x00, 0x10, 0x00, 0x00, 0x00, 0x10, 0x00};
const GuardSettings kOnce{50ms, 1, 500ms};
constexpr auto kLong = 10s;

/// A line with our end and the far one.
struct Line {
  Line() {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) {
      throw std::system_error(errno, std::generic_category());
    }
    ours = ends[0];
    far = ends[1];
  }
  ~Line() {
    ::close(ours);
    if (far >= 0) {
      ::close(far);
    }
  }

  /// The next bytes, or fewer when they do not come in time.
  Bytes read(std::size_t count, std::chrono::milliseconds within = 5000ms) const {
    Bytes bytes;
    const auto deadline = Clock::now() + within;
    while (bytes.size() < count) {
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
      pollfd port{far, POLLIN, 0};
      if (left <= 0 || poll(&port, 1, static_cast<int>(left)) <= 0) {
        break;
      }
      std::uint8_t chunk[4096];
      const ssize_t got = ::read(far, chunk, std::min(sizeof chunk, count - bytes.size()));
      if (got <= 0) {
        break;
      }
      bytes.insert(bytes.end(), chunk, chunk + got);
    }
    return bytes;
  }

  int ours = -1;
  int far = -1;
};

TEST(PortGuard, SaysNothingUntilItIsArmed) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  EXPECT_TRUE(line.read(1, 100ms).empty());
  EXPECT_FALSE(guard.is_armed());
}

TEST(PortGuard, SaysWaitWhenNobodyRenews) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  const auto began = Clock::now();
  EXPECT_TRUE(guard.renew(100ms));
  EXPECT_EQ(line.read(kWait.size()), kWait);
  EXPECT_GE(Clock::now() - began, 100ms);
  EXPECT_TRUE(guard.has_fired());
  EXPECT_TRUE(line.read(1, 150ms).empty());
  EXPECT_EQ(guard.written(), 1U);
}

TEST(PortGuard, RenewalsKeepItQuiet) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  for (int round = 0; round < 20; ++round) {
    ASSERT_TRUE(guard.renew(2s));
    std::this_thread::sleep_for(5ms);
  }
  EXPECT_TRUE(guard.renew(100ms));  // a renewal may be shorter than what it replaces
  EXPECT_EQ(line.read(kWait.size(), 1500ms), kWait);
}

TEST(PortGuard, RepeatsAsOftenAsItIsTold) {
  const Line line;
  PortGuard guard(line.ours, kWait, GuardSettings{10ms, 3, 500ms});
  guard.renew(1ms);
  EXPECT_EQ(line.read(4 * kWait.size(), 500ms).size(), 3 * kWait.size());
  EXPECT_EQ(guard.written(), 3U);
}

TEST(PortGuard, OnceItHasFiredNothingElseIsWrittenUntilThatIsSeen) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  guard.renew(1ms);
  ASSERT_EQ(line.read(kWait.size()), kWait);
  EXPECT_FALSE(guard.renew(kLong));
  EXPECT_EQ(guard.write({1, 2, 3}), ECANCELED);
  EXPECT_TRUE(line.read(1, 50ms).empty());
  EXPECT_TRUE(guard.disarm());
  EXPECT_FALSE(guard.has_fired());
  EXPECT_EQ(guard.write({1, 2, 3}), 0);
  EXPECT_EQ(line.read(3), (Bytes{1, 2, 3}));
  EXPECT_TRUE(guard.renew(kLong));
  EXPECT_FALSE(guard.disarm());
}

TEST(PortGuard, DisarmedItStaysQuiet) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  guard.renew(50ms);
  EXPECT_FALSE(guard.disarm());
  EXPECT_TRUE(line.read(1, 150ms).empty());
}

TEST(PortGuard, SaysTheFrameThatItWasGivenLast) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  guard.renew(50ms);
  guard.set_frame({9, 8, 7});
  EXPECT_EQ(line.read(3), (Bytes{9, 8, 7}));
}

TEST(PortGuard, ClosedWhileArmedItSaysWaitALastTime) {
  const Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  guard.renew(kLong);
  guard.close();
  EXPECT_EQ(line.read(kWait.size()), kWait);
  EXPECT_FALSE(guard.renew(kLong));
  EXPECT_EQ(guard.write({1}), EBADF);
  guard.close();
  EXPECT_TRUE(line.read(1, 50ms).empty());
}

TEST(PortGuard, ClosedAtRestItSaysNothing) {
  const Line line;
  {
    PortGuard guard(line.ours, kWait, kOnce);
  }
  EXPECT_TRUE(line.read(1, 50ms).empty());
}

TEST(PortGuard, ADescriptorThatIsReusedIsNotWrittenTo) {
  const Line line;
  const Line other;
  const int copy = dup(line.ours);
  PortGuard guard(copy, kWait, kOnce);
  ASSERT_EQ(dup2(other.ours, copy), copy);  // the number now means another file
  guard.renew(1ms);
  EXPECT_EQ(line.read(kWait.size()), kWait);
  EXPECT_TRUE(other.read(1, 50ms).empty());
  ::close(copy);
}

TEST(PortGuard, AClosedDescriptorIsRefused) {
  EXPECT_THROW(PortGuard(-1, kWait), std::system_error);
}

TEST(PortGuard, APortThatIsGoneIsNoticed) {
  Line line;
  PortGuard guard(line.ours, kWait, kOnce);
  ::close(line.far);
  line.far = -1;
  EXPECT_NE(guard.write({1, 2}), 0);
  guard.renew(1ms);
  const auto deadline = Clock::now() + 5s;
  while (guard.last_error() == 0 && Clock::now() < deadline) {
    std::this_thread::sleep_for(1ms);
  }
  EXPECT_TRUE(guard.has_fired());
  EXPECT_NE(guard.last_error(), 0);
  EXPECT_EQ(guard.written(), 0U);
}

TEST(PortGuard, APortThatTakesNothingDoesNotHoldItUpForEver) {
  const Line line;
  PortGuard guard(line.ours, kWait, GuardSettings{10ms, 1, 50ms});
  EXPECT_EQ(guard.write(Bytes(16U << 20U, 0xAA)), ETIMEDOUT);
  line.read(1U << 20U, 200ms);  // someone reads again
  guard.renew(1ms);
  Bytes rest = line.read(16U << 20U, 1000ms);
  ASSERT_GE(rest.size(), kWait.size());
  EXPECT_EQ(Bytes(rest.end() - static_cast<long>(kWait.size()), rest.end()), kWait);
}

TEST(PortGuard, FramesDoNotMix) {
  // Three writers with blocks of one value each against a guard that fires all the time.
  constexpr std::size_t kBlock =
      6000;  // more than the line takes at once, so that writes come in parts
  const Line line;
  const int small = 4096;
  setsockopt(line.ours, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
  const Bytes wait(kBlock, 0xEE);
  PortGuard guard(line.ours, wait, GuardSettings{1ms, 1000000, 5s});
  std::atomic<bool> is_over{false};
  std::vector<std::thread> writers;
  for (std::uint8_t value = 1; value <= 3; ++value) {
    writers.emplace_back([&, value] {
      while (!is_over) {
        if (guard.write(Bytes(kBlock, value)) == ECANCELED) {
          guard.disarm();
          guard.renew(1ms);
        }
      }
    });
  }
  guard.renew(1ms);
  int waits = 0;
  int others = 0;
  const auto deadline = Clock::now() + 20s;
  for (int block = 0; (waits < 20 || others < 200) && Clock::now() < deadline; ++block) {
    const Bytes bytes = line.read(kBlock);
    if (bytes.size() != kBlock || bytes != Bytes(kBlock, bytes[0])) {
      ADD_FAILURE() << "block " << block << " is mixed";
      break;
    }
    ++(bytes[0] == 0xEE ? waits : others);
  }
  is_over = true;
  std::thread drain([&] { line.read(64U << 20U, 1000ms); });
  for (auto& writer : writers) {
    writer.join();
  }
  guard.disarm();
  guard.close();
  drain.join();
  EXPECT_GE(waits, 20);
  EXPECT_GE(others, 200);
}

/// Notes what happens in which order, bytes that have arrived by then included.
class NotedSwitch : public SendSwitch {
 public:
  NotedSwitch(const Line& line, std::string& notes, int off_error = 0)
      : line_(line), notes_(notes), off_error_(off_error) {}
  int on() override {
    notes_ += "on ";
    return 0;
  }
  int off() override {
    notes_ += std::to_string(line_.read(kWait.size(), 100ms).size()) + " off ";
    return off_error_;
  }

 private:
  const Line& line_;
  std::string& notes_;
  int off_error_;
};

TEST(PortGuard, TheSenderIsOnWhileAFrameIsOnTheLine) {
  const Line line;
  std::string notes;
  {
    PortGuard guard(line.ours, kWait, kOnce, std::make_unique<NotedSwitch>(line, notes));
    EXPECT_EQ(guard.write(kWait), 0);
    guard.renew(kLong);
  }
  EXPECT_EQ(notes, "on 9 off on 9 off ");
}

TEST(PortGuard, ASenderThatDoesNotTurnIsAnError) {
  const Line line;
  std::string notes;
  PortGuard guard(line.ours, kWait, kOnce, std::make_unique<NotedSwitch>(line, notes, ENOTTY));
  EXPECT_EQ(guard.write({1}), ENOTTY);
}

TEST(RtsSwitch, SaysSoWhereThereIsNoRts) {
  const Line line;
  EXPECT_NE(apis_control::RtsSwitch(line.ours, true).on(), 0);
}

TEST(GpioSwitch, SaysSoWhereThereIsNoLine) {
  const Line line;
  EXPECT_NE(apis_control::GpioSwitch(line.ours, true).on(), 0);
  EXPECT_THROW(apis_control::GpioSwitch(-1, true), std::system_error);
}

}  // namespace
