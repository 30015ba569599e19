#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/executor.h"
#include "engine/vector/view_search.h"

namespace baton {

// What every SearchSkill has in common: threads that run batches, one thread a batch. A batch that
// finds the queue full gets RESOURCE_EXHAUSTED, from the calling thread; one past its deadline
// DEADLINE_EXCEEDED, which a running search notices within milliseconds, as it does destruction:
// that answers whatever is not finished with CANCELLED. Thread safe.
class SearchBatches {
 public:
  struct Options {
    std::string device = "CPU";   // as messages name it
    int threads = 1;              // at least 1
    int64_t queue_batches = 256;  // waiting
    ThreadPlacement placement = {};
  };

  // Called on several threads, with a batch each: what SearchView does, of its view.
  using Search = absl::AnyInvocable<absl::Status(const SearchBatch& batch, SearchPoll poll,
                                                 SearchBatchResult& result) const>;

  // `clock` outlives it.
  SearchBatches(Options options, const Clock& clock, Search search);
  ~SearchBatches();

  // As SearchSkill's.
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done);
  void ExecuteHere(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done);

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

  const std::string device_;
  const Clock& clock_;
  const Search search_;
  BoundedQueue<Job> jobs_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace baton
