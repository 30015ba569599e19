#pragma once

#include <thread>
#include <vector>

#include "engine/answer_runner.h"
#include "engine/base/bounded_queue.h"

namespace baton {

// The threads that build answers and hand them to gRPC.
class WriterPool final : public AnswerRunner {
 public:
  explicit WriterPool(int threads);
  ~WriterPool() override;  // runs what is queued first
  WriterPool(const WriterPool&) = delete;
  WriterPool& operator=(const WriterPool&) = delete;

  // Each RPC has at most one job here at a time. What answers a request is bounded by those that
  // may be in flight, what writes a stream by the streams that are open.
  void Post(Job job) override;

 private:
  BoundedQueue<Job> jobs_;
  std::vector<std::thread> threads_;
};

}  // namespace baton
