#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/exec/encoder_batches.h"
#include "engine/exec/executor.h"

namespace baton {

struct CpuEmbedOptions {
  int threads = 1;              // at least 1; and as many of the encoder
  int64_t queue_batches = 256;  // waiting; and as many of the encoder, waiting or running
  bool warm_up = false;         // encoders, in LoadModel
  ThreadPlacement placement = {};
};

// Embeds batches on its own threads: lexical ones one thread a batch, an encoder's in steps
// (EncoderBatches), which a team of threads shares. A batch that finds the queue full gets
// RESOURCE_EXHAUSTED, from the calling thread; one past its deadline DEADLINE_EXCEEDED. Destruction
// finishes what runs and answers what waits with CANCELLED. Thread safe.
class CpuEmbed final : public EmbedSkill {
 public:
  // `kernels` and `clock` outlive it.
  CpuEmbed(const CpuEmbedOptions& options, const CpuKernels& kernels, const Clock& clock);
  ~CpuEmbed() override;

  std::string Unable(const Embedder&) const override { return ""; }
  int64_t ModelBytes(const TextEncoder& encoder) const override;
  absl::Status LoadModel(std::shared_ptr<const TextEncoder> encoder) override;
  void UnloadModel(const TextEncoder& encoder) override;
  void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) override;

  int32_t queue_depth() const { return batches_ + encoders_.queue_depth(); }  // waiting and running

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
  const CpuEmbedOptions options_;
  const CpuKernels& kernels_;
  std::mutex team_mutex_;
  std::unique_ptr<ThreadTeam> team_;  // team_mutex_; there once an encoder is
  EncoderBatches encoders_;           // leads the team
  std::vector<std::thread> threads_;
};

}  // namespace baton
