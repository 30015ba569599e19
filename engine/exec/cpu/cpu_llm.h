#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <variant>
#include <vector>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/cpu/decoder_forward.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/exec/executor.h"
#include "engine/model/sampler.h"

namespace baton {

struct CpuLlmOptions {
  int threads = 1;             // that share a batch's work, at least 1
  int64_t queue_batches = 16;  // waiting or running
  int32_t step_tokens_max = 512;
  ThreadPlacement placement = {};
};

// Runs language model batches in order on one thread of its own, which leads a team of threads. The
// slots hold what a sequence carries from batch to batch: its sampler and its last token.
//
// A batch beyond `queue_batches` gets RESOURCE_EXHAUSTED, from the calling thread; every other
// `done` comes from the executor's thread. A batch that fails leaves the slots as they were.
// Destruction finishes the running batch and answers the waiting ones with CANCELLED.
class CpuLlm final : public LlmSkill {
 public:
  // `kernels` and `clock` outlive it.
  CpuLlm(const CpuLlmOptions& options, const CpuKernels& kernels, const Clock& clock);
  ~CpuLlm() override;

  int64_t ModelBytes(const LanguageModel& model) const override;
  absl::Status LoadModel(std::shared_ptr<const LanguageModel> model) override;
  void UnloadModel(const LanguageModel& model) override;
  void OpenSlot(SlotId slot, SlotSetup setup) override;
  void CloseSlot(SlotId slot) override;
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override;
  bool TellsPromptsApart(const LanguageModel& model) const override;
  MemorySpace kv_space() const override { return {.kind = MemorySpace::Kind::kHost}; }

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Slot {
    Sampler sampler;
    std::optional<int32_t> logprobs;
    std::optional<TokenId> last_token;
  };
  struct Open {
    SlotId slot;
    SlotSetup setup;
  };
  struct Close {
    SlotId slot;
  };
  struct Batch {
    LlmBatch batch;
    absl::AnyInvocable<void(LlmBatchResult)> done;
    TimeUs queued_us = 0;
  };
  using Command = std::variant<Open, Close, Batch>;

  void ThreadMain();
  void RunBatch(Batch& batch);
  absl::Status Forward(const LlmBatch& batch, LlmBatchResult* result);
  absl::Status GatherItems(const LlmBatch& batch);
  // What the next logits of an item give.
  void TakeLogits(const LlmItem& item, std::span<const float> logits, LlmBatchResult::Item& result);
  absl::StatusOr<DecoderForward*> FindModel(const LanguageModel* model);

  const CpuLlmOptions options_;
  const CpuKernels& kernels_;
  const Clock& clock_;
  ThreadTeam team_;

  std::mutex models_mutex_;
  std::unordered_map<const LanguageModel*, std::unique_ptr<DecoderForward>> models_;

  // Slot commands travel with the batches, to keep their order; they are few and never refused.
  BoundedQueue<Command> commands_;
  std::atomic<int32_t> batches_{0};
  std::atomic<bool> stopping_{false};

  // Of the thread below only.
  std::unordered_map<SlotId, Slot> slots_;
  std::vector<ForwardItem> items_;      // the batch as the forward pass takes it
  std::vector<TokenId> decode_tokens_;  // of its decodes, each: last token and guesses

  std::thread thread_;  // last: starts when everything above is there
};

}  // namespace baton
