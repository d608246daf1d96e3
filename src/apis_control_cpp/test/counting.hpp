// Counts what a real-time tick must not do, in the threads that ask for it.
#pragma once

#include <atomic>

namespace counting {
inline thread_local bool is_on = false;
inline std::atomic<long> allocations{0};
inline std::atomic<long> locks{0};
/// Sanitizers bring their own allocator; there nothing is counted.
bool is_possible();
}  // namespace counting
