#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/llm_batches.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_forward.h"

namespace baton {

// Language-model work on a plug-in's device: batches, slots and the choice of tokens whose logits
// something changes are LlmBatches'; the forward pass is the plug-in's.
class PluginLlm final : public LlmSkill {
 public:
  // `clock` outlives it.
  PluginLlm(std::shared_ptr<PluginDevice> device, int64_t queue_batches, const Clock& clock);

  // What is on the device is the device's own account.
  int64_t ModelBytes(const LanguageModel&) const override { return 0; }
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
  bool TellsLayers() const override { return device_->TellsLayers(); }
  bool Pauses() const override { return false; }
  WarmUpSteps StepsToWarmUp(const LanguageModel& model) const override;
  MemorySpace kv_space() const override { return device_->options().space; }
  KvMemorySource* kv_memory() override { return device_.get(); }

  int32_t queue_depth() const { return batches_.queue_depth(); }

 private:
  // Null: it was not loaded.
  PluginForward* Find(const LanguageModel& model) const;
  absl::Status Forward(const LanguageModel& model, const KvLayout& layout,
                       std::span<const ForwardItem> items, LlmBatches::Answers& answers);

  const std::shared_ptr<PluginDevice> device_;
  mutable std::mutex models_mutex_;
  std::unordered_map<const LanguageModel*, std::unique_ptr<PluginForward>> models_;

  LlmBatches batches_;  // last: its thread uses everything above
};

}  // namespace baton
