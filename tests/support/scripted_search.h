#pragma once

#include <mutex>
#include <string>
#include <utility>

#include "engine/exec/executor.h"
#include "tests/support/held_queue.h"

namespace baton {

// A device that only searches, and finds nothing; a test decides what it says of itself, and when
// it fails or hangs. Runs batches in order on a thread of its own, and none while it is held.
class ScriptedSearch final : public Executor, public SearchSkill {
 public:
  explicit ScriptedSearch(Platform platform = Platform::kGpu)
      : queue_([this](Work work) { Run(std::move(work)); }) {
    info_.platform = platform;
    info_.device = "scripted0";
    info_.present = true;
    info_.memory_bytes_total = 100;
    sample_.healthy = true;
  }

  void Hold() { queue_.Hold(); }
  void Resume() { queue_.Resume(); }
  void FailNext(int batches, absl::StatusCode code = absl::StatusCode::kInternal) {
    const std::lock_guard lock(mutex_);
    failures_ = batches;
    code_ = code;
  }
  void SetSample(const ExecutorSample& sample) {
    const std::lock_guard lock(mutex_);
    sample_ = sample;
  }
  // What it says that its batches take.
  void SetRunUs(TimeUs run_us) {
    const std::lock_guard lock(mutex_);
    run_us_ = run_us;
  }
  int searches() const {
    const std::lock_guard lock(mutex_);
    return searches_;
  }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override {
    const std::lock_guard lock(mutex_);
    return sample_;
  }
  LlmSkill* llm() override { return nullptr; }
  SearchSkill* search() override { return this; }
  EmbedSkill* embed() override { return nullptr; }
  ClusterSkill* cluster() override { return nullptr; }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }

  std::string Unable(const CollectionView&, const SearchParams&) const override { return ""; }
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    queue_.Push({std::move(batch), std::move(done)});
  }

 private:
  using Work = std::pair<SearchBatch, absl::AnyInvocable<void(SearchBatchResult)>>;

  void Run(Work work) {
    auto& [batch, done] = work;
    SearchBatchResult result;
    {
      const std::lock_guard lock(mutex_);
      ++searches_;
      result.times.run_us = run_us_;
      if (failures_ > 0) {
        --failures_;
        result.status = absl::Status(code_, "scripted failure");
      } else {
        result.neighbors.resize(batch.queries.size());
      }
    }
    batch.view.reset();
    done(std::move(result));
  }

  ExecutorInfo info_;
  mutable std::mutex mutex_;
  ExecutorSample sample_;
  TimeUs run_us_ = 1000;
  int failures_ = 0;
  absl::StatusCode code_ = absl::StatusCode::kInternal;
  int searches_ = 0;
  HeldQueue<Work> queue_;  // last: its thread uses the others
};

}  // namespace baton
