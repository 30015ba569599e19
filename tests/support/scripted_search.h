#pragma once

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "engine/exec/executor.h"

namespace baton {

// A GPU that only searches, and finds nothing; a test decides what it says of itself, and when it
// fails or hangs. Runs batches in order on a thread of its own, and none while it is held.
class ScriptedSearch final : public Executor, public SearchSkill {
 public:
  ScriptedSearch() : thread_([this] { Run(); }) {
    info_.platform = Platform::kGpu;
    info_.device = "scripted0";
    info_.present = true;
    info_.memory_bytes_total = 100;
    sample_.healthy = true;
  }
  ~ScriptedSearch() override {
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

  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    {
      const std::lock_guard lock(mutex_);
      queue_.emplace_back(std::move(batch), std::move(done));
    }
    changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || (!held_ && !queue_.empty()); });
      if (queue_.empty()) return;
      auto [batch, done] = std::move(queue_.front());
      queue_.pop_front();
      ++searches_;
      SearchBatchResult result;
      result.times.run_us = run_us_;
      if (failures_ > 0) {
        --failures_;
        result.status = absl::Status(code_, "scripted failure");
      } else {
        result.neighbors.resize(batch.queries.size());
      }
      lock.unlock();
      batch.view.reset();
      done(std::move(result));
      lock.lock();
    }
  }

  ExecutorInfo info_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::pair<SearchBatch, absl::AnyInvocable<void(SearchBatchResult)>>> queue_;
  ExecutorSample sample_;
  TimeUs run_us_ = 1000;
  int failures_ = 0;
  absl::StatusCode code_ = absl::StatusCode::kInternal;
  int searches_ = 0;
  bool held_ = false;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
