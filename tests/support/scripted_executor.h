#pragma once

#include <functional>
#include <string>
#include <utility>

#include "engine/exec/executor.h"
#include "tests/support/held_queue.h"

namespace baton {

// A language-model executor whose tokens, delays and failures a test decides. Runs batches in order
// on a thread of its own, and none while it is held.
class ScriptedExecutor final : public Executor, public LlmSkill {
 public:
  // The token sampled after the item's one position, or an error for the whole batch.
  using Script = std::function<absl::StatusOr<TokenId>(const LlmItem& item)>;

  struct Options {
    Platform platform = Platform::kGpu;
    std::string device = "scripted0";
    MemorySpace kv_space = {};
    bool tells_layers = false;
    // Before a batch's tokens are asked for, on the thread: what it does to its blocks.
    std::function<void(const LlmBatch&)> on_batch = {};
  };

  explicit ScriptedExecutor(Script script) : ScriptedExecutor(std::move(script), Options()) {}
  ScriptedExecutor(Script script, Options options)
      : script_(std::move(script)),
        options_(std::move(options)),
        info_{.platform = options_.platform, .device = options_.device, .present = true},
        queue_([this](Work work) { Run(std::move(work)); }) {}

  void Hold() { queue_.Hold(); }
  void Resume() { queue_.Resume(); }
  int queued() const { return queue_.size(); }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override { return {.healthy = true, .queue_depth = queued()}; }
  LlmSkill* llm() override { return this; }
  SearchSkill* search() override { return nullptr; }
  EmbedSkill* embed() override { return nullptr; }
  ClusterSkill* cluster() override { return nullptr; }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }

  int64_t ModelBytes(const LanguageModel&) const override { return 0; }
  absl::Status LoadModel(std::shared_ptr<const LanguageModel>) override { return absl::OkStatus(); }
  void UnloadModel(const LanguageModel&) override {}
  void OpenSlot(SlotId, SlotSetup) override {}
  void CloseSlot(SlotId) override {}
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override {
    queue_.Push({std::move(batch), std::move(done)});
  }
  bool TellsPromptsApart(const LanguageModel&) const override { return false; }
  bool TellsLayers() const override { return options_.tells_layers; }
  bool Pauses() const override { return false; }
  WarmUpSteps StepsToWarmUp(const LanguageModel&) const override { return {}; }
  MemorySpace kv_space() const override { return options_.kv_space; }
  KvMemorySource* kv_memory() override { return nullptr; }

 private:
  using Work = std::pair<LlmBatch, absl::AnyInvocable<void(LlmBatchResult)>>;

  void Run(Work work) const {
    auto& [batch, done] = work;
    if (options_.on_batch) options_.on_batch(batch);
    LlmBatchResult result;
    for (const LlmItem& item : batch.items) {
      LlmBatchResult::Item& out = result.items.emplace_back();
      out.sequence = item.sequence;
      LlmItem one = item;  // as if guesses were fed one by one
      if (item.work_class == WorkClass::kDecode) one.tokens.clear();
      do {
        if (!item.sample) break;
        const absl::StatusOr<TokenId> token = script_(one);
        if (!token.ok()) {
          result.status = token.status();
          break;
        }
        out.tokens.push_back(*token);
        ++one.position;
      } while (item.work_class == WorkClass::kDecode && out.tokens.size() <= item.tokens.size() &&
               out.tokens.back() == item.tokens[out.tokens.size() - 1]);
    }
    batch.model.reset();
    done(std::move(result));
  }

  const Script script_;
  const Options options_;
  const ExecutorInfo info_;
  HeldQueue<Work> queue_;  // last: its thread uses the others
};

}  // namespace baton
