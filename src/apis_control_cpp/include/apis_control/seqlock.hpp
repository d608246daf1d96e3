// One writer that never waits, any number of readers that try again: a consistent copy of a plain
// struct.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace apis_control {

/// The words are atomics themselves, with release and acquire (plain moves on x86), so that no
/// read is a data race (H.-J. Boehm, "Can seqlocks get along with programming language memory
/// models?", MSPC 2012).
template <typename Value>
class Seqlock {
  static_assert(std::is_trivially_copyable_v<Value>);
  static constexpr std::size_t kWords = (sizeof(Value) + 7) / 8;

 public:
  Seqlock() noexcept { write(Value{}); }

  void write(const Value& value) noexcept {
    std::array<std::uint64_t, kWords> copy{};
    std::memcpy(copy.data(), &value, sizeof(Value));
    const std::uint64_t before = sequence_.load(std::memory_order_relaxed);
    sequence_.store(before + 1, std::memory_order_relaxed);
    for (std::size_t i = 0; i < kWords; ++i) words_[i].store(copy[i], std::memory_order_release);
    sequence_.store(before + 2, std::memory_order_release);
  }

  [[nodiscard]] Value read() const noexcept {
    std::array<std::uint64_t, kWords> copy{};
    for (;;) {
      const std::uint64_t before = sequence_.load(std::memory_order_acquire);
      for (std::size_t i = 0; i < kWords; ++i) copy[i] = words_[i].load(std::memory_order_acquire);
      if (before % 2 == 0 && sequence_.load(std::memory_order_relaxed) == before) break;
    }
    Value value;
    std::memcpy(static_cast<void*>(&value), copy.data(), sizeof(Value));
    return value;
  }

 private:
  std::atomic<std::uint64_t> sequence_{0};
  std::array<std::atomic<std::uint64_t>, kWords> words_{};
};

}  // namespace apis_control
