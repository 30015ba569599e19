#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/thread_placement.h"

namespace baton {

// Threads that split one loop after another. The calling thread takes part, so a team of one has no
// thread of its own. Ranges are handed out as threads ask for them, and a thread that comes late
// finds the loop closed: one that the kernel has taken off its core delays a loop by the range it
// holds at most, never by its absence. Between loops the threads spin briefly, because the next one
// of a forward pass is microseconds away, and then park.
//
// ParallelFor may be called by one thread at a time. Destruction joins the threads.
class ThreadTeam {
 public:
  // `threads` counts the caller; at least 1. The caller, which is thread 0 of the placement, binds
  // itself.
  explicit ThreadTeam(int threads, const ThreadPlacement& placement = {});
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(begin, end, thread) for ranges of at most `grain` that make up [0, count), from
  // several threads at once; `thread` is in [0, threads()). Returns when all are done, and the
  // caller sees what they wrote. Allocates nothing. Few ranges run in the caller alone.
  template <class Body>
  void ParallelFor(int64_t count, int64_t grain, const Body& body) {
    Run({.call = [](const void* context, int64_t begin, int64_t end,
                    int thread) { (*static_cast<const Body*>(context))(begin, end, thread); },
         .context = &body,
         .count = count,
         .grain = grain});
  }

 private:
  struct Loop {
    void (*call)(const void* context, int64_t begin, int64_t end, int thread) = nullptr;
    const void* context = nullptr;
    int64_t count = 0;
    int64_t grain = 1;
  };

  void Run(const Loop& loop);
  void TakeRanges(int thread);
  void WorkerMain(int thread);
  // Waits for an open loop other than `seen`. False: the team is ending.
  bool WaitForLoop(uint32_t seen);
  bool IsOpenAfter(uint32_t seen) const;
  void WaitForWorkers();

  // High half: the loops' generation, odd while one is open. Low half: the workers inside it. A
  // worker enters by compare-and-swap on an open state, so `loop_` may be written while the state
  // is closed with nobody inside.
  std::atomic<uint64_t> state_{0};
  Loop loop_;
  alignas(64) std::atomic<int64_t> next_{0};  // the first index not handed out

  // Parking. A sleeper raises its flag before it looks at `state_` for the last time; a waker
  // changes `state_` before it looks at the flag; all in one total order, so one sees the other.
  alignas(64) std::atomic<int> workers_parked_{0};
  std::atomic<bool> caller_parked_{false};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable loop_opened_;
  std::condition_variable workers_left_;
  std::vector<std::thread> workers_;
};

}  // namespace baton
