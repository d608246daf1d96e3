// The thread sanitizer of GCC 12 does not see that waiting on the steady clock takes and gives
// back a mutex, and complains of every unlock that follows. Here are these two functions made of
// such that it does see. Only in its tests.
#include <pthread.h>

#include <cerrno>
#include <cstdint>
#include <ctime>

namespace {

constexpr std::int64_t kSecondNs = 1'000'000'000;

std::int64_t now_ns(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kSecondNs + now.tv_nsec;
}

std::int64_t left_ns(clockid_t clock, const timespec* until) {
  return until->tv_sec * kSecondNs + until->tv_nsec - now_ns(clock);
}

}  // namespace

extern "C" int pthread_mutex_clocklock(pthread_mutex_t* mutex, clockid_t clock,
                                       const timespec* until) {
  constexpr timespec kPause{0, 100'000};
  for (;;) {
    const int result = pthread_mutex_trylock(mutex);
    if (result != EBUSY) return result;
    if (left_ns(clock, until) <= 0) return ETIMEDOUT;
    nanosleep(&kPause, nullptr);
  }
}

extern "C" int pthread_cond_clockwait(pthread_cond_t* condition, pthread_mutex_t* mutex,
                                      clockid_t clock, const timespec* until) {
  const std::int64_t end_ns = now_ns(CLOCK_REALTIME) + left_ns(clock, until);
  const timespec end{end_ns / kSecondNs, end_ns % kSecondNs};
  return pthread_cond_timedwait(condition, mutex, &end);
}
