#include "engine/exec/cpu/cpu_encoder.h"

#include <span>
#include <utility>

#include "engine/base/strings.h"

namespace baton {

CpuEncoder::CpuEncoder(const CpuEncoderOptions& options, const CpuKernels& kernels,
                       const Clock& clock)
    : options_(options), kernels_(kernels), clock_(clock) {}

CpuEncoder::~CpuEncoder() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_one();
  if (thread_.joinable()) thread_.join();
}

absl::Status CpuEncoder::LoadModel(std::shared_ptr<const TextEncoder> encoder) {
  const std::lock_guard lock(mutex_);
  if (encoder_ == encoder) return absl::OkStatus();
  if (encoder_ != nullptr) {
    return absl::UnimplementedError(StrCat("model ", encoder->name(),
                                           ": the CPU runs one embedding model, and has ",
                                           encoder_->name()));
  }
  encoder_ = std::move(encoder);
  team_ = std::make_unique<ThreadTeam>(options_.threads);
  forward_ = std::make_unique<EncoderForward>(encoder_, kernels_, *team_);
  thread_ = std::thread([this] { ThreadMain(); });
  return absl::OkStatus();
}

void CpuEncoder::Execute(EmbedBatch batch, Done done) {
  auto job = std::make_unique<Job>(
      Job{.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()});
  const bool has_room = ++batches_ <= options_.queue_batches;
  bool is_loaded = false;
  {
    const std::lock_guard lock(mutex_);
    is_loaded = encoder_ != nullptr && job->batch.embedder == encoder_;
    if (has_room && is_loaded) arrived_.push_back(std::move(job));
  }
  if (job == nullptr) return changed_.notify_one();
  End(*job, is_loaded
                ? absl::ResourceExhaustedError(StrCat(
                      "the CPU's embedding queue is full: ", options_.queue_batches, " batches"))
                : absl::InternalError(
                      "a batch for an encoder that was not loaded into the CPU executor"));
}

void CpuEncoder::ThreadMain() {
  while (TakeJobs()) {
    EndJobs();
    if (!jobs_.empty()) RunStep();
    EndJobs();
  }
  for (const auto& job : jobs_)
    End(*job, absl::CancelledError("the CPU executor is shutting down"));
}

bool CpuEncoder::TakeJobs() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return stopping_ || !jobs_.empty() || !arrived_.empty(); });
  for (std::unique_ptr<Job>& job : arrived_) jobs_.push_back(std::move(job));
  arrived_.clear();
  return !stopping_;
}

void CpuEncoder::EndJobs() {
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

void CpuEncoder::RunStep() {
  const std::vector<Text> texts = PlanStep();
  std::vector<std::span<const TokenId>> inputs;
  for (const Text& text : texts) inputs.emplace_back(text.tokens);
  std::vector<std::vector<float>> embeddings;
  const absl::Status status = forward_->Run(inputs, &embeddings);
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

// One text of each job in turn, until the next one does not fit.
std::vector<CpuEncoder::Text> CpuEncoder::PlanStep() {
  const TimeUs now_us = clock_.NowUs();
  std::vector<Text> texts;
  size_t tokens = 0;
  for (bool has_more = true; has_more;) {
    has_more = false;
    for (const std::unique_ptr<Job>& job : jobs_) {
      if (job->planned == job->batch.texts.size()) continue;
      Text text = {.job = job.get(),
                   .tokens = encoder_->InputTokens(job->batch.texts[job->planned])};
      tokens += text.tokens.size();
      if (tokens > static_cast<size_t>(forward_->step_tokens_max())) return texts;
      texts.push_back(std::move(text));
      if (job->start_us < 0) job->start_us = now_us;
      ++job->planned;
      has_more = true;
    }
  }
  return texts;
}

void CpuEncoder::End(Job& job, absl::Status status) {
  const TimeUs now_us = clock_.NowUs();
  const TimeUs start_us = job.start_us < 0 ? now_us : job.start_us;
  EmbedBatchResult result;
  result.status = std::move(status);
  if (result.status.ok()) result.embeddings = std::move(job.embeddings);
  result.texts = std::move(job.batch.texts);
  result.times = {.queue_us = start_us - job.queued_us, .run_us = now_us - start_us};
  --batches_;
  job.done(std::move(result));
}

}  // namespace baton
