#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

#include "engine/base/clock.h"

namespace baton {

// A FIFO of at most `capacity` items between threads. Close() wakes everybody: pushes are refused
// from then on, pops drain what is left and then return nothing.
template <class T>
class BoundedQueue {
 public:
  explicit BoundedQueue(size_t capacity) : capacity_(capacity) {}

  // Never blocks. False when full or closed; `item` is then untouched.
  bool TryPush(T&& item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  // Never blocks and ignores the capacity: for the completion of work that was admitted through a
  // bound of its own, which must not be lost. False only when closed.
  bool Push(T&& item) {
    {
      const std::lock_guard lock(mutex_);
      if (closed_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  // Blocks until an item is there; nothing once closed and empty.
  std::optional<T> Pop() {
    std::unique_lock lock(mutex_);
    ready_.wait(lock, [this] { return closed_ || !items_.empty(); });
    return TakeLocked();
  }

  // Everything queued. Blocks for the first item until `wait_us` passed (0: does not block).
  std::deque<T> PopAll(TimeUs wait_us) {
    std::unique_lock lock(mutex_);
    if (items_.empty() && wait_us > 0 && !closed_) {
      ready_.wait_for(lock, std::chrono::microseconds(wait_us),
                      [this] { return closed_ || !items_.empty(); });
    }
    return std::exchange(items_, {});
  }

  void Close() {
    {
      const std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  size_t size() const {
    const std::lock_guard lock(mutex_);
    return items_.size();
  }
  size_t capacity() const { return capacity_; }
  bool closed() const {
    const std::lock_guard lock(mutex_);
    return closed_;
  }

 private:
  std::optional<T> TakeLocked() {
    if (items_.empty()) return std::nullopt;
    std::optional<T> item(std::move(items_.front()));
    items_.pop_front();
    return item;
  }

  const size_t capacity_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;
  bool closed_ = false;
};

}  // namespace baton
