#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/ids.h"

namespace baton {

// What requests wait for: each kind has a queue of its own.
enum class WaitsFor : uint8_t { kNothing, kFirstToken, kSearch };
inline constexpr int kWaitsForCount = 3;

// Refuses requests that would wait too long, at once, so that those which are taken are answered in
// time: under overload a queue that is only bounded in length ends with everybody late.
//
// By Little's law a queue of n that is served at a rate r makes the next one wait n / r. The rate
// is that of what was served in the last second, or since the queue was last empty. So that a burst
// which finds an idle daemon is not taken for overload, nothing is refused before the one in the
// middle of the queue, too, has waited for a good part of the limit: one that waits for long by
// itself, as a long prompt does, keeps nobody out. Thread safe.
class Admission {
 public:
  // A queue so short is no queue.
  static constexpr size_t kWaitingMin = 8;

  // Takes it into its queue. RESOURCE_EXHAUSTED, with when to come again: it would wait for longer
  // than wait_us_max; < 0: any time will do. Nothing is remembered of what waits for nothing.
  absl::Status Enter(RequestId id, WaitsFor what, TimeUs wait_us_max, TimeUs now_us);
  // It has its first token, or its answer: `served`; or it has ended without. What has left
  // already, or never entered, is left alone.
  void Leave(RequestId id, WaitsFor what, bool served, TimeUs now_us);

 private:
  static constexpr TimeUs kWindowUs = 1'000'000;
  static constexpr TimeUs kWindowUsMin = 50'000;  // shorter ones say nothing

  struct Entered {
    RequestId id;
    TimeUs at_us = 0;
    bool waits = true;
  };
  struct Queue {
    // In the order in which they came. The first one waits; so do half of them, if there are many.
    std::deque<Entered> line;
    int64_t first = 0;                               // the number of the first in line
    std::unordered_map<RequestId, int64_t> waiting;  // their numbers
    std::deque<TimeUs> served;                       // within the window, since it was last empty
    TimeUs busy_since_us = 0;                        // it was last empty
  };

  std::mutex mutex_;
  std::array<Queue, kWaitsForCount> queues_;
};

}  // namespace baton
