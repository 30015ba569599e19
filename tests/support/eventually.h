#pragma once

#include <chrono>
#include <thread>

namespace baton {

// How long a test waits for what should take milliseconds: it may run beside others, and slowly.
inline constexpr std::chrono::seconds kAwaitMax{300};

// Polls until `done()`; false after kAwaitMax.
template <class Condition>
bool Eventually(Condition done) {
  const auto end = std::chrono::steady_clock::now() + kAwaitMax;
  while (!done()) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace baton
