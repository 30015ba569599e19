#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <thread>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/vector/view_clusters.h"

namespace baton {

// What every ClusterSkill has in common: k-means, one batch at a time, on one thread of its own at
// low priority: it takes seconds, and nobody waits for it as for a search. A batch that finds the
// queue full gets RESOURCE_EXHAUSTED, from the calling thread; one past its deadline
// DEADLINE_EXCEEDED, a cancelled one CANCELLED, which running ones notice within a fraction of a
// second, as they do destruction: that answers whatever is not finished with CANCELLED. Thread
// safe.
class ClusterBatches {
 public:
  struct Options {
    std::string device = "CPU";  // as messages name it
    int64_t queue_batches = 4;   // waiting
    int64_t sample_bytes_max = 256 << 20;
  };

  // `clock` and `math` outlive it.
  ClusterBatches(const Options& options, const Clock& clock, const CentroidMath& math);
  ~ClusterBatches();

  // As ClusterSkill's.
  void Execute(ClusterBatch batch, absl::AnyInvocable<void(ClusterBatchResult)> done);

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Job {
    ClusterBatch batch;
    absl::AnyInvocable<void(ClusterBatchResult)> done;
    TimeUs queued_us = 0;
  };

  void ThreadMain();
  void RunJob(Job job);
  absl::Status MayGoOn(const ClusterBatch& batch) const;

  const std::string device_;
  const int64_t sample_bytes_max_;
  const CentroidMath& math_;
  const Clock& clock_;
  BoundedQueue<Job> jobs_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace baton
