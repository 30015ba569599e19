#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/exec/executor.h"

namespace baton {

// A language-model executor whose tokens, delays and failures a test decides. Runs batches in order
// on a thread of its own, and none while it is held.
class ScriptedExecutor final : public Executor, public LlmSkill {
 public:
  // The token sampled after the item's one position, or an error for the whole batch.
  using Script = std::function<absl::StatusOr<TokenId>(const LlmItem& item)>;

  explicit ScriptedExecutor(Script script)
      : script_(std::move(script)), thread_([this] { Run(); }) {
    info_.platform = Platform::kGpu;
    info_.device = "scripted0";
    info_.present = true;
  }
  ~ScriptedExecutor() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      held_ = false;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Hold() {
    const std::lock_guard lock(mutex_);
    held_ = true;
  }
  void Resume() {
    {
      const std::lock_guard lock(mutex_);
      held_ = false;
    }
    changed_.notify_all();
  }
  int queued() const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(queue_.size());
  }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override { return {.healthy = true, .queue_depth = queued()}; }
  LlmSkill* llm() override { return this; }
  SearchSkill* search() override { return nullptr; }
  EmbedSkill* embed() override { return nullptr; }
  ClusterSkill* cluster() override { return nullptr; }

  int64_t ModelBytes(const LanguageModel&) const override { return 0; }
  absl::Status LoadModel(std::shared_ptr<const LanguageModel>) override { return absl::OkStatus(); }
  void UnloadModel(const LanguageModel&) override {}
  void OpenSlot(SlotId, SlotSetup) override {}
  void CloseSlot(SlotId) override {}
  void Execute(LlmBatch batch, absl::AnyInvocable<void(LlmBatchResult)> done) override {
    {
      const std::lock_guard lock(mutex_);
      queue_.emplace_back(std::move(batch), std::move(done));
    }
    changed_.notify_all();
  }
  bool TellsPromptsApart(const LanguageModel&) const override { return false; }
  MemorySpace kv_space() const override { return {}; }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (!held_ && !queue_.empty()); });
      if (queue_.empty()) return;
      auto [batch, done] = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
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
      lock.lock();
    }
  }

  const Script script_;
  ExecutorInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<LlmBatch, absl::AnyInvocable<void(LlmBatchResult)>>> queue_;
  bool held_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
