#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "engine/base/clock.h"

namespace baton {

// How other threads reach the engine's loop: they post what it shall do. Posting never blocks and
// is never refused while the loop lives, since all that is posted belongs to a request that was
// admitted through queues.requests_in_flight_max; afterwards it is dropped. Thread safe.
class Mailbox {
 public:
  using Task = absl::AnyInvocable<void()>;

  void Post(Task task) {
    Leave(std::move(task));
    ready_.notify_one();
  }
  // Wakes nobody: whoever leaves it takes it, with all that is here, or calls Wake().
  void Leave(Task task) {
    const std::lock_guard lock(mutex_);
    if (!closed_) tasks_.push_back(std::move(task));
  }

  // Ends a Wait(), or the next one.
  void Wake() {
    {
      const std::lock_guard lock(mutex_);
      woken_ = true;
    }
    ready_.notify_one();
  }
  // Blocks until a task is here, somebody calls Wake() or `wait_us` passed.
  void Wait(TimeUs wait_us) {
    std::unique_lock lock(mutex_);
    if (wait_us > 0) {
      ready_.wait_for(lock, std::chrono::microseconds(wait_us),
                      [this] { return woken_ || !tasks_.empty(); });
    }
    woken_ = false;
  }
  std::deque<Task> TakeAll() {
    const std::lock_guard lock(mutex_);
    return std::exchange(tasks_, {});
  }
  bool empty() const {
    const std::lock_guard lock(mutex_);
    return tasks_.empty();
  }

  void Close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Task> tasks_;
  bool woken_ = false;
  bool closed_ = false;
};

}  // namespace baton
