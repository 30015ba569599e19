#include "engine/exec/encoder_batches.h"

#include <future>
#include <span>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {

EncoderBatches::EncoderBatches(Options options, const Clock& clock)
    : options_(std::move(options)), clock_(clock) {}

EncoderBatches::~EncoderBatches() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

bool EncoderBatches::Has(const Embedder& encoder) const {
  const std::lock_guard lock(mutex_);
  return models_.contains(&encoder);
}

void EncoderBatches::Add(std::shared_ptr<const TextEncoder> encoder,
                         std::unique_ptr<EncoderPass> pass) {
  auto model = std::make_unique<Model>(Model{.encoder = encoder, .pass = std::move(pass)});
  {
    const std::lock_guard lock(mutex_);
    models_.try_emplace(encoder.get(), std::move(model));
    if (!thread_.joinable()) thread_ = std::thread([this] { ThreadMain(); });
  }
  if (options_.warm_up) WarmUp(std::move(encoder));
}

void EncoderBatches::WarmUp(std::shared_ptr<const TextEncoder> encoder) {
  const std::string name = encoder->name();
  EmbedBatch batch = {.embedder = encoder, .texts = {"warm"}};
  if (encoder->kind() == Embedder::Kind::kCrossEncoder) batch.query = "warm";
  encoder.reset();
  const auto answer = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> answered = answer->get_future();
  const TimeUs begun_us = clock_.NowUs();
  Execute(std::move(batch),
          [answer](EmbedBatchResult result) { answer->set_value(std::move(result.status)); });
  const absl::Status status = answered.get();
  if (status.ok()) {
    Log().info("model {}: warm on the {} after {} ms", name, options_.device,
               (clock_.NowUs() - begun_us) / 1000);
  } else {
    Log().warn("model {}: not warmed up on the {}: {}", name, options_.device,
               std::string(status.message()));
  }
}

void EncoderBatches::Remove(const TextEncoder& encoder) {
  std::unique_ptr<Model> model;  // outlives the lock: freeing takes a while
  std::unique_lock lock(mutex_);
  const auto found = models_.find(&encoder);
  if (found == models_.end()) return;
  answered_.wait(lock, [&] { return found->second->jobs == 0; });
  model = std::move(found->second);
  models_.erase(found);
}

void EncoderBatches::Execute(EmbedBatch batch, Done done) {
  auto job = std::make_unique<Job>(
      Job{.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()});
  const bool has_room = ++batches_ <= options_.queue_batches;
  bool is_loaded = false;
  {
    const std::lock_guard lock(mutex_);
    const auto model = models_.find(job->batch.embedder.get());
    is_loaded = model != models_.end();
    if (has_room && is_loaded) {
      job->model = model->second.get();
      ++job->model->jobs;
      arrived_.push_back(std::move(job));
    }
  }
  if (job == nullptr) return changed_.notify_one();
  End(*job, is_loaded
                ? absl::ResourceExhaustedError(
                      StrCat("the ", options_.device, "'s embedding queue is full: ",
                             options_.queue_batches, " batches; retry in 100 ms"))
                : absl::InternalError(StrCat("a batch for an encoder that was not loaded into the ",
                                             options_.device, " executor")));
}

void EncoderBatches::ThreadMain() {
  NameThread("encode");
  options_.placement.Bind({.index = 0, .count = options_.threads});
  while (TakeJobs()) {
    EndJobs();
    if (!jobs_.empty()) RunStep();
    EndJobs();
  }
  for (const auto& job : jobs_)
    End(*job, absl::CancelledError(StrCat("the ", options_.device, " executor is shutting down")));
}

bool EncoderBatches::TakeJobs() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !jobs_.empty() || !arrived_.empty(); });
  for (std::unique_ptr<Job>& job : arrived_) jobs_.push_back(std::move(job));
  arrived_.clear();
  return !stopping_;
}

void EncoderBatches::EndJobs() {
  const TimeUs now_us = clock_.NowUs();
  std::erase_if(jobs_, [&](const std::unique_ptr<Job>& job) {
    const size_t texts = job->batch.texts.size();
    if (job->embeddings.size() == texts) {
      End(*job, absl::OkStatus());
    } else if (now_us >= job->batch.deadline_us) {
      End(*job,
          absl::DeadlineExceededError(StrCat("embedding stopped at text ", job->embeddings.size(),
                                             " of ", texts, ": deadline passed")));
    } else {
      return false;
    }
    return true;
  });
}

void EncoderBatches::RunStep() {
  const std::vector<Text> texts = PlanStep();
  std::vector<EncoderText> inputs;
  for (const Text& text : texts) {
    inputs.push_back({.tokens = text.input.tokens,
                      .second = text.input.second,
                      .deterministic = text.job->batch.deterministic});
  }
  std::vector<std::vector<float>> embeddings;
  const absl::Status status = texts.front().job->model->pass->Run(inputs, &embeddings);
  if (status.ok()) {
    for (size_t i = 0; i < texts.size(); ++i) {
      texts[i].job->embeddings.push_back(std::move(embeddings[i]));
    }
  } else {
    std::erase_if(jobs_, [&](const std::unique_ptr<Job>& job) {
      const bool took_part = job->planned > job->embeddings.size();
      if (took_part) End(*job, status);
      return took_part;
    });
  }
  if (jobs_.size() > 1) {
    jobs_.push_back(std::move(jobs_.front()));
    jobs_.pop_front();
  }
}

// One text of each job in turn, of those with the first one's encoder, until the next one does not
// fit.
std::vector<EncoderBatches::Text> EncoderBatches::PlanStep() {
  const TimeUs now_us = clock_.NowUs();
  const Model* const model = jobs_.front()->model;
  const auto tokens_max = static_cast<size_t>(model->pass->step_tokens_max());
  std::vector<Text> texts;
  size_t tokens = 0;
  for (bool has_more = true; has_more;) {
    has_more = false;
    for (const std::unique_ptr<Job>& job : jobs_) {
      if (job->model != model || job->planned == job->batch.texts.size()) continue;
      Text text = {.job = job.get(), .input = InputOf(*job, job->batch.texts[job->planned])};
      tokens += text.input.tokens.size();
      if (tokens > tokens_max) return texts;
      job->inputs.push_back({.tokens = static_cast<int32_t>(text.input.tokens.size()),
                             .truncated = text.input.truncated});
      texts.push_back(std::move(text));
      if (job->start_us < 0) job->start_us = now_us;
      ++job->planned;
      has_more = true;
    }
  }
  return texts;
}

EncoderInput EncoderBatches::InputOf(Job& job, const std::string& text) {
  const TextEncoder& encoder = *job.model->encoder;
  if (!job.batch.query) return encoder.InputOf(text);
  if (!job.query) job.query = encoder.FirstOf(*job.batch.query);
  return encoder.PairOf(*job.query, text);
}

void EncoderBatches::End(Job& job, absl::Status status) {
  const TimeUs now_us = clock_.NowUs();
  const TimeUs start_us = job.start_us < 0 ? now_us : job.start_us;
  EmbedBatchResult result;
  result.status = std::move(status);
  if (result.status.ok()) {
    result.embeddings = std::move(job.embeddings);
    result.inputs = std::move(job.inputs);
    result.query_truncated = job.query && job.query->truncated;
  }
  result.texts = std::move(job.batch.texts);
  result.times = {.queue_us = start_us - job.queued_us, .run_us = now_us - start_us};
  --batches_;
  job.batch.embedder.reset();  // with the last answer the encoder may go
  job.done(std::move(result));
  if (job.model == nullptr) return;  // it was refused
  const std::lock_guard lock(mutex_);
  if (--job.model->jobs == 0) answered_.notify_all();
}

}  // namespace baton
