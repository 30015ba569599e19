#include "engine/exec/cpu/cpu_embed.h"

#include <optional>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/exec/cpu/encoder_forward.h"

namespace baton {

CpuEmbed::CpuEmbed(const CpuEmbedOptions& options, const CpuKernels& kernels, const Clock& clock)
    : clock_(clock),
      jobs_(static_cast<size_t>(options.queue_batches)),
      options_(options),
      kernels_(kernels),
      encoders_({.device = "CPU",
                 .queue_batches = options.queue_batches,
                 .warm_up = options.warm_up,
                 .placement = options.placement,
                 .threads = options.threads},
                clock) {
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this, i, count = options.threads, placement = options.placement] {
      NameThread("embed", i);
      placement.Bind({.index = i, .count = count});
      ThreadMain();
    });
  }
}

CpuEmbed::~CpuEmbed() {
  stopping_ = true;
  jobs_.Close();
  for (std::thread& thread : threads_) thread.join();
}

absl::Status CpuEmbed::LoadModel(std::shared_ptr<const TextEncoder> encoder) {
  if (encoders_.Has(*encoder)) return absl::OkStatus();
  {
    const std::lock_guard lock(team_mutex_);
    if (team_ == nullptr) {
      team_ = std::make_unique<ThreadTeam>(options_.threads, options_.placement);
    }
  }
  std::unique_ptr<EncoderForward> forward;
  {
    // Steps of other encoders may use the team.
    ThreadTeam packers(options_.threads, options_.placement);
    forward = std::make_unique<EncoderForward>(encoder, kernels_, *team_, &packers);
  }
  encoders_.Add(std::move(encoder), std::move(forward));
  return absl::OkStatus();
}

int64_t CpuEmbed::ModelBytes(const TextEncoder& encoder) const {
  return EncoderForward::Bytes(encoder, kernels_, options_.threads);
}

void CpuEmbed::UnloadModel(const TextEncoder& encoder) { encoders_.Remove(encoder); }

void CpuEmbed::Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) {
  if (batch.embedder->kind() != Embedder::Kind::kLexical) {
    return encoders_.Execute(std::move(batch), std::move(done));
  }
  Job job = {.batch = std::move(batch), .done = std::move(done), .queued_us = clock_.NowUs()};
  ++batches_;
  if (jobs_.TryPush(std::move(job))) return;
  --batches_;  // a refused push leaves the job untouched
  EmbedBatchResult refused;
  refused.status = absl::ResourceExhaustedError(
      StrCat("the CPU's embedding queue is full: ", jobs_.capacity(), " batches; retry in 100 ms"));
  refused.texts = std::move(job.batch.texts);
  job.done(std::move(refused));
}

void CpuEmbed::ThreadMain() {
  while (std::optional<Job> job = jobs_.Pop()) RunJob(*std::move(job));
}

void CpuEmbed::RunJob(Job job) {
  EmbedBatchResult result;
  const TimeUs start_us = clock_.NowUs();
  result.status = stopping_ ? absl::CancelledError("the CPU executor is shutting down")
                            : Embed(job.batch, &result.embeddings);
  if (!result.status.ok()) result.embeddings.clear();
  result.inputs.resize(result.embeddings.size());  // of each the whole text, and no tokens
  result.texts = std::move(job.batch.texts);
  result.times = {.queue_us = start_us - job.queued_us, .run_us = clock_.NowUs() - start_us};
  --batches_;
  job.done(std::move(result));
}

absl::Status CpuEmbed::Embed(const EmbedBatch& batch,
                             std::vector<std::vector<float>>* embeddings) const {
  const auto& embedder = static_cast<const LexicalEmbedder&>(*batch.embedder);  // by its kind
  embeddings->reserve(batch.texts.size());
  for (const std::string& text : batch.texts) {
    if (clock_.NowUs() >= batch.deadline_us) {
      return absl::DeadlineExceededError(StrCat("embedding stopped at text ", embeddings->size(),
                                                " of ", batch.texts.size(), ": deadline passed"));
    }
    std::vector<float>& embedding = embeddings->emplace_back(embedder.dimension());
    embedder.Embed(text, embedding);
  }
  return absl::OkStatus();
}

}  // namespace baton
