#pragma once

#include <atomic>
#include <thread>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"

namespace baton {

struct CpuEmbedOptions {
  int threads = 1;              // at least 1
  int64_t queue_batches = 256;  // waiting
};

// Embeds batches on its own threads, one thread a batch. A batch that finds the queue full gets
// RESOURCE_EXHAUSTED, from the calling thread; one past its deadline DEADLINE_EXCEEDED. Destruction
// finishes the running batches and answers the waiting ones with CANCELLED. Thread safe.
class CpuEmbed final : public EmbedSkill {
 public:
  // `clock` outlives it.
  CpuEmbed(const CpuEmbedOptions& options, const Clock& clock);
  ~CpuEmbed() override;

  void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) override;

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Job {
    EmbedBatch batch;
    absl::AnyInvocable<void(EmbedBatchResult)> done;
    TimeUs queued_us = 0;
  };

  void ThreadMain();
  void RunJob(Job job);
  absl::Status Embed(const EmbedBatch& batch, std::vector<std::vector<float>>* embeddings) const;

  const Clock& clock_;
  BoundedQueue<Job> jobs_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace baton
