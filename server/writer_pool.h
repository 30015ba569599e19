#pragma once

#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/base/bounded_queue.h"

namespace baton {

// The threads that build answers and hand them to gRPC, so that the engine's loop does not: a
// gRPC write costs its caller 5 to 90 us. Thread safe.
class WriterPool {
 public:
  using Job = absl::AnyInvocable<void()>;

  explicit WriterPool(int threads);
  ~WriterPool();  // runs what is queued first
  WriterPool(const WriterPool&) = delete;
  WriterPool& operator=(const WriterPool&) = delete;

  // Never blocks. Each RPC has at most one job here at a time, so the engine's bound on requests in
  // flight bounds this queue too.
  void Post(Job job);

 private:
  BoundedQueue<Job> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace baton
