#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/exec/executor.h"

namespace baton {

// An executor that computes language-model batches and searches once and knows them by heart from
// then on: for one request after another that are all the same. What it knows it answers at once,
// on the calling thread.
class MemoExecutor final : public Executor, public LlmSkill, public SearchSkill {
 public:
  explicit MemoExecutor(std::unique_ptr<Executor> computes) : computes_(std::move(computes)) {}

  const ExecutorInfo& Describe() const override { return computes_->Describe(); }
  ExecutorSample Sample() const override { return computes_->Sample(); }
  LlmSkill* llm() override { return this; }
  SearchSkill* search() override { return this; }
  EmbedSkill* embed() override { return computes_->embed(); }
  ClusterSkill* cluster() override { return computes_->cluster(); }
  GraphSkill* graph() override { return computes_->graph(); }
  const IvfMath* ivf() override { return computes_->ivf(); }

  int64_t ModelBytes(const LanguageModel& model) const override {
    return computes_->llm()->ModelBytes(model);
  }
  absl::Status LoadModel(std::shared_ptr<const LanguageModel> model) override {
    return computes_->llm()->LoadModel(std::move(model));
  }
  void UnloadModel(const LanguageModel& model) override { computes_->llm()->UnloadModel(model); }
  void OpenSlot(SlotId slot, SlotSetup setup) override {
    computes_->llm()->OpenSlot(slot, std::move(setup));
  }
  void CloseSlot(SlotId slot) override { computes_->llm()->CloseSlot(slot); }
  bool TellsPromptsApart(const LanguageModel& model) const override {
    return computes_->llm()->TellsPromptsApart(model);
  }
  bool TellsLayers() const override { return false; }
  bool Pauses() const override { return false; }
  WarmUpSteps StepsToWarmUp(const LanguageModel&) const override { return {}; }
  MemorySpace kv_space() const override { return computes_->llm()->kv_space(); }
  KvMemorySource* kv_memory() override { return computes_->llm()->kv_memory(); }

  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override {
    LlmKey key;
    LlmBatchResult known;
    for (const LlmItem& item : batch.items) {
      key.emplace_back(item.work_class, item.position, item.tokens);
      known.items.push_back({.sequence = item.sequence, .tokens = {}});
    }
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = llm_.find(key); it != llm_.end()) {
        for (size_t i = 0; i < known.items.size(); ++i) known.items[i].tokens = it->second[i];
        batch.model.reset();
        return done(std::move(known));
      }
    }
    computes_->llm()->Execute(
        std::move(batch),
        [this, key = std::move(key), done = std::move(done)](LlmBatchResult result) mutable {
          if (result.status.ok()) {
            const std::lock_guard lock(mutex_);
            for (const auto& item : result.items) llm_[key].push_back(item.tokens);
          }
          done(std::move(result));
        });
  }

  std::string Unable(const CollectionView& view, const SearchParams& params) const override {
    return computes_->search()->Unable(view, params);
  }
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    {
      const std::lock_guard lock(mutex_);
      if (const auto it = search_.find(batch.queries); it != search_.end()) {
        SearchBatchResult known;
        known.neighbors = it->second;
        return done(std::move(known));
      }
    }
    auto queries = batch.queries;
    computes_->search()->Execute(std::move(batch),
                                 [this, queries = std::move(queries),
                                  done = std::move(done)](SearchBatchResult result) mutable {
                                   if (result.status.ok()) {
                                     const std::lock_guard lock(mutex_);
                                     search_[queries] = result.neighbors;
                                   }
                                   done(std::move(result));
                                 });
  }

 private:
  using LlmKey = std::vector<std::tuple<WorkClass, int32_t, std::vector<TokenId>>>;
  std::mutex mutex_;
  std::map<LlmKey, std::vector<std::vector<TokenId>>> llm_;
  std::map<std::vector<std::vector<float>>, std::vector<std::vector<Neighbor>>> search_;
  std::unique_ptr<Executor> computes_;  // last: what it still runs uses the others
};

}  // namespace baton
