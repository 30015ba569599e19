#pragma once

#include <cstddef>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/base/bounded_queue.h"

namespace baton {

// Threads for host work that is too long for the engine's loop: tokenizing, compiling grammars,
// splitting documents, building prompts, reading points from disk. Thread safe.
class HostLane {
 public:
  using Job = absl::AnyInvocable<void()>;

  // `name`: of the threads; a literal.
  HostLane(const char* name, int threads, size_t queue_max);
  // Runs what is queued, then ends.
  ~HostLane();

  // Never blocks. False when the queue is full.
  bool TryRun(Job&& job) { return queue_.TryPush(std::move(job)); }

 private:
  BoundedQueue<Job> queue_;
  std::vector<std::jthread> threads_;
};

}  // namespace baton
