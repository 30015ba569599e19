#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/cpu/decoder_forward.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/thread_team.h"
#include "engine/exec/executor.h"
#include "engine/exec/llm_batches.h"

namespace baton {

struct CpuLlmOptions {
  int threads = 1;             // that share a batch's work, at least 1
  int64_t queue_batches = 16;  // waiting or running
  int32_t step_tokens_max = 512;
  bool warm_up = false;  // models, before they are ready
  ThreadPlacement placement = {};
};

// Runs language model batches with a team of threads, which the thread of `batches_` leads.
class CpuLlm final : public LlmSkill {
 public:
  // `kernels` and `clock` outlive it.
  CpuLlm(const CpuLlmOptions& options, const CpuKernels& kernels, const Clock& clock);

  int64_t ModelBytes(const LanguageModel& model) const override;
  absl::Status LoadModel(std::shared_ptr<const LanguageModel> model) override;
  void UnloadModel(const LanguageModel& model) override;
  void OpenSlot(SlotId slot, SlotSetup setup) override {
    batches_.OpenSlot(slot, std::move(setup));
  }
  void CloseSlot(SlotId slot) override { batches_.CloseSlot(slot); }
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }
  bool TellsPromptsApart(const LanguageModel& model) const override;
  bool TellsLayers() const override { return true; }
  bool Pauses() const override { return true; }
  WarmUpSteps StepsToWarmUp(const LanguageModel&) const override;
  MemorySpace kv_space() const override { return {.kind = MemorySpace::Kind::kHost}; }
  KvMemorySource* kv_memory() override { return nullptr; }

  int32_t queue_depth() const { return batches_.queue_depth(); }  // waiting and running

 private:
  absl::Status Forward(const LanguageModel& model, const KvLayout& layout,
                       std::span<const ForwardItem> items, LlmBatches::Answers& answers);
  absl::StatusOr<DecoderForward*> FindModel(const LanguageModel* model);

  const CpuLlmOptions options_;
  const CpuKernels& kernels_;
  ThreadTeam team_;

  std::mutex models_mutex_;
  std::unordered_map<const LanguageModel*, std::unique_ptr<DecoderForward>> models_;

  LlmBatches batches_;  // last: its thread uses everything above
};

}  // namespace baton
