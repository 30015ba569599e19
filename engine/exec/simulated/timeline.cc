#include "engine/exec/simulated/timeline.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace baton {
namespace {

// How soon a clock that others move is looked at again.
constexpr TimeUs kForeignClockPollUs = 200;

}  // namespace

Timeline::Timeline(const Clock& clock, Warp warp, const ThreadPlacement& placement)
    : clock_(clock), warp_(std::move(warp)), thread_([this, placement] {
        placement.Bind({});
        ThreadMain();
      }) {}

Timeline::~Timeline() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void Timeline::At(TimeUs due_us, absl::AnyInvocable<void()> run) {
  {
    const std::lock_guard lock(mutex_);
    due_.emplace(due_us, std::move(run));
  }
  changed_.notify_all();
}

void Timeline::ThreadMain() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (due_.empty()) {
      changed_.wait(lock);
      continue;
    }
    const TimeUs due_us = due_.begin()->first;
    const TimeUs left_us = due_us - clock_.NowUs();
    if (left_us > 0) {
      if (warp_ != nullptr) {
        lock.unlock();
        warp_(due_us);
        lock.lock();
      } else {
        const bool real = &clock_ == &SystemClock();
        changed_.wait_for(lock, std::chrono::microseconds(
                                    real ? left_us : std::min(left_us, kForeignClockPollUs)));
      }
      continue;
    }
    absl::AnyInvocable<void()> run = std::move(due_.begin()->second);
    due_.erase(due_.begin());
    lock.unlock();
    run();
    run = nullptr;  // what it holds may end with it, without the lock
    lock.lock();
  }
}

}  // namespace baton
