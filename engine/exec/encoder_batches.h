#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/encoder_pass.h"
#include "engine/exec/executor.h"

namespace baton {

// What every EmbedSkill has in common: embeds texts by encoders, in steps of as many texts as a
// forward pass takes at once, which is the executor's. A step is of one encoder and takes texts of
// all its batches in turn: batches of few texts share a step, and a question does not wait for the
// end of an ingest. A batch that finds the queue full gets RESOURCE_EXHAUSTED, from the calling
// thread; one past its deadline DEADLINE_EXCEEDED, at the end of a step. Destruction finishes the
// running step and answers what is not complete with CANCELLED. Thread safe. Without an encoder it
// has no thread.
class EncoderBatches {
 public:
  struct Options {
    std::string device = "CPU";   // as messages name it
    int64_t queue_batches = 256;  // waiting or running
    bool warm_up = false;         // encoders, in Add
    // Of the thread, which is the first of so many.
    ThreadPlacement placement = {};
    int threads = 1;
  };
  using Done = absl::AnyInvocable<void(EmbedBatchResult)>;

  // `clock` outlives it.
  EncoderBatches(Options options, const Clock& clock);
  ~EncoderBatches();
  EncoderBatches(const EncoderBatches&) = delete;
  EncoderBatches& operator=(const EncoderBatches&) = delete;

  bool Has(const Embedder& encoder) const;
  // From now on its batches are taken; with warm_up, a text goes through before. Blocks.
  void Add(std::shared_ptr<const TextEncoder> encoder, std::unique_ptr<EncoderPass> pass);
  // Blocks until its batches are answered; then nothing of the encoder is held here.
  void Remove(const TextEncoder& encoder);

  // batch.embedder is an encoder that was added before; else INTERNAL.
  void Execute(EmbedBatch batch, Done done);

  int32_t queue_depth() const { return batches_; }  // waiting and running

 private:
  struct Model {
    std::shared_ptr<const TextEncoder> encoder;
    std::unique_ptr<EncoderPass> pass;
    int64_t jobs = 0;  // not yet answered
  };
  struct Job {
    EmbedBatch batch;
    Done done;
    Model* model = nullptr;
    TimeUs queued_us = 0;
    TimeUs start_us = -1;                        // of its first step; -1: it has had none
    size_t planned = 0;                          // texts in this step or an earlier one
    std::vector<std::vector<float>> embeddings;  // of the earlier steps'
    std::vector<EmbedInput> inputs;              // of the texts planned
    std::optional<TextEncoder::First> query;     // of a cross-encoder, once it is tokenized
  };
  // A step's text.
  struct Text {
    Job* job;
    EncoderInput input;
  };

  // What of it fails is told and not the end: whoever comes first is told the same.
  void WarmUp(std::shared_ptr<const TextEncoder> encoder);
  void ThreadMain();
  // Moves what has come in to jobs_; blocks while there is nothing to do. False: it is over.
  bool TakeJobs();
  void RunStep();
  std::vector<Text> PlanStep();
  static EncoderInput InputOf(Job& job, const std::string& text);
  // Answers the jobs that are complete, or past their deadline.
  void EndJobs();
  void End(Job& job, absl::Status status);

  const Options options_;
  const Clock& clock_;
  std::atomic<int32_t> batches_{0};

  mutable std::mutex mutex_;  // of what follows up to stopping_, and the models' jobs
  std::condition_variable changed_;
  std::condition_variable answered_;
  std::map<const Embedder*, std::unique_ptr<Model>> models_;
  std::deque<std::unique_ptr<Job>> arrived_;
  bool stopping_ = false;

  // Of the thread alone, once it runs.
  std::deque<std::unique_ptr<Job>> jobs_;  // the first has the first word in the next step
  std::thread thread_;
};

}  // namespace baton
