#include "engine/exec/cpu/thread_team.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

// Pauses before parking: about 30 us at the 140 cycles a pause takes on a server core of 3 to 4
// GHz, longer than the serial pieces of a forward pass, shorter than the wake-ups it saves.
constexpr int kSpins = 800;

constexpr uint64_t kGenerationOne = uint64_t{1} << 32;
constexpr uint32_t Generation(uint64_t state) { return static_cast<uint32_t>(state >> 32); }
constexpr bool IsOpen(uint64_t state) { return (Generation(state) & 1) != 0; }
constexpr uint32_t WorkersInside(uint64_t state) { return static_cast<uint32_t>(state); }

}  // namespace

ThreadTeam::ThreadTeam(int threads, const ThreadPlacement& placement) {
  BATON_CHECK(threads >= 1);
  workers_.reserve(static_cast<size_t>(threads - 1));
  for (int thread = 1; thread < threads; ++thread) {
    workers_.emplace_back([this, thread, threads, placement] {
      NameThread("team", thread);
      placement.Bind({.index = thread, .count = threads});
      WorkerMain(thread);
    });
  }
}

ThreadTeam::~ThreadTeam() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  loop_opened_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::Run(const Loop& loop) {
  if (loop.count <= 0) return;
  if (workers_.empty() || loop.count <= loop.grain) {
    loop.call(loop.context, 0, loop.count, 0);
    return;
  }
  loop_ = loop;
  next_.store(0, std::memory_order_relaxed);
  state_ += kGenerationOne;  // opens
  if (workers_parked_ > 0) {
    { const std::lock_guard lock(mutex_); }  // a worker about to sleep sleeps first, then is woken
    loop_opened_.notify_all();
  }
  TakeRanges(0);
  state_ += kGenerationOne;  // closes
  WaitForWorkers();
}

void ThreadTeam::TakeRanges(int thread) {
  while (true) {
    const int64_t begin = next_.fetch_add(loop_.grain, std::memory_order_relaxed);
    if (begin >= loop_.count) return;
    loop_.call(loop_.context, begin, std::min(begin + loop_.grain, loop_.count), thread);
  }
}

void ThreadTeam::WaitForWorkers() {
  for (int i = 0; i < kSpins; ++i) {
    if (WorkersInside(state_.load(std::memory_order_acquire)) == 0) return;
    __builtin_ia32_pause();
  }
  std::unique_lock lock(mutex_);
  caller_parked_ = true;
  workers_left_.wait(lock, [this] { return WorkersInside(state_) == 0; });
  caller_parked_ = false;
}

void ThreadTeam::WorkerMain(int thread) {
  uint32_t seen = 0;
  while (WaitForLoop(seen)) {
    uint64_t state = state_;
    bool entered = false;
    while (!entered && IsOpen(state) && Generation(state) != seen) {
      entered = state_.compare_exchange_weak(state, state + 1);
    }
    if (!entered) continue;
    seen = Generation(state);
    TakeRanges(thread);
    state = --state_;
    if (!IsOpen(state) && WorkersInside(state) == 0 && caller_parked_) {
      { const std::lock_guard lock(mutex_); }
      workers_left_.notify_one();
    }
  }
}

bool ThreadTeam::IsOpenAfter(uint32_t seen) const {
  const uint64_t state = state_;
  return IsOpen(state) && Generation(state) != seen;
}

bool ThreadTeam::WaitForLoop(uint32_t seen) {
  for (int i = 0; i < kSpins; ++i) {
    if (IsOpenAfter(seen)) return true;
    if (stopping_.load(std::memory_order_relaxed)) return false;
    __builtin_ia32_pause();
  }
  std::unique_lock lock(mutex_);
  ++workers_parked_;
  loop_opened_.wait(lock, [this, seen] { return stopping_ || IsOpenAfter(seen); });
  --workers_parked_;
  return !stopping_;
}

}  // namespace baton
