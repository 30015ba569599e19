#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace baton {

// Runs pieces of work in order on a thread of its own, and none while it is held. What waits when
// it ends is still run.
template <class Work>
class HeldQueue {
 public:
  explicit HeldQueue(std::function<void(Work)> run)
      : run_(std::move(run)), thread_([this] { Run(); }) {}
  ~HeldQueue() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      held_ = false;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Resume() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  void Push(Work work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    changed_.notify_all();
  }
  int size() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(queue_.size());
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (!held_ && !queue_.empty()); });
      if (queue_.empty()) return;
      Work work = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      run_(std::move(work));
      lock.lock();
    }
  }

  const std::function<void(Work)> run_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Work> queue_;
  bool held_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
