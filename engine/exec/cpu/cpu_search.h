#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/executor.h"

namespace baton {

struct CpuSearchOptions {
  int threads = 1;              // at least 1
  int64_t queue_batches = 256;  // waiting
  ThreadPlacement placement = {};
};

// Searches batches on its own threads, one thread a batch. A batch that finds the queue full gets
// RESOURCE_EXHAUSTED, from the calling thread; one past its deadline DEADLINE_EXCEEDED, which a
// running search notices within milliseconds, as it does destruction: that answers whatever is
// not finished with CANCELLED. Thread safe.
class CpuSearch final : public SearchSkill {
 public:
  // `clock` outlives it.
  CpuSearch(const CpuSearchOptions& options, const Clock& clock);
  ~CpuSearch() override;

  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override;

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Job {
    SearchBatch batch;
    absl::AnyInvocable<void(SearchBatchResult)> done;
    TimeUs queued_us = 0;
  };

  void ThreadMain();
  void RunJob(Job job);
  absl::Status MayGoOn(const SearchBatch& batch) const;

  const Clock& clock_;
  BoundedQueue<Job> jobs_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace baton
