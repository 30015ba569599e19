#pragma once

#include <cstddef>
#include <deque>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"

namespace baton {

// How other threads reach the engine's loop: they post what it shall do. Posting never blocks and
// is never refused while the loop lives, since all that is posted belongs to a request that was
// admitted through queues.requests_in_flight_max; afterwards it is dropped. Thread safe.
class Mailbox {
 public:
  using Task = absl::AnyInvocable<void()>;

  void Post(Task task) { queue_.Push(std::move(task)); }
  // Blocks for the first task until `wait_us` passed.
  std::deque<Task> TakeAll(TimeUs wait_us) { return queue_.PopAll(wait_us); }
  void Close() { queue_.Close(); }

 private:
  BoundedQueue<Task> queue_{0};  // its capacity binds TryPush only, which nobody calls here
};

}  // namespace baton
