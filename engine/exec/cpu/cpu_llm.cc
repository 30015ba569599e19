#include "engine/exec/cpu/cpu_llm.h"

#include <span>
#include <utility>

#include "engine/base/status_macros.h"

namespace baton {
namespace {

// A prompt and a decode read all weights once each in their two forms; longer ones would only take
// longer, seconds where a model is large.
constexpr int32_t kWarmUpTokens = 16;

}  // namespace

CpuLlm::CpuLlm(const CpuLlmOptions& options, const CpuKernels& kernels, const Clock& clock)
    : options_(options),
      kernels_(kernels),
      team_(options.threads, options.placement),
      batches_({.device = "CPU",
                .queue_batches = options.queue_batches,
                .placement = options.placement,
                .threads = options.threads},
               clock,
               [this](const LanguageModel& model, const KvLayout& layout,
                      std::span<const ForwardItem> items, LlmBatches::Answers& answers) {
                 return Forward(model, layout, items, answers);
               }) {}

int64_t CpuLlm::ModelBytes(const LanguageModel& model) const {
  return DecoderForward::Bytes(model, kernels_, options_.threads, options_.step_tokens_max);
}

absl::Status CpuLlm::LoadModel(std::shared_ptr<const LanguageModel> model) {
  const LanguageModel* const key = model.get();
  ThreadTeam packers(options_.threads,
                     options_.placement);  // batches of other models may use the team
  auto forward = std::make_unique<DecoderForward>(std::move(model), kernels_, team_,
                                                  options_.step_tokens_max, &packers);
  const std::lock_guard lock(models_mutex_);
  models_.try_emplace(key, std::move(forward));
  return absl::OkStatus();
}

void CpuLlm::UnloadModel(const LanguageModel& model) {
  std::unique_ptr<DecoderForward> forward;  // outlives the lock: freeing takes a while
  const std::lock_guard lock(models_mutex_);
  const auto found = models_.find(&model);
  if (found == models_.end()) return;
  forward = std::move(found->second);
  models_.erase(found);
}

bool CpuLlm::TellsPromptsApart(const LanguageModel& model) const {
  return DecoderForward::TellsPromptsApart(model, kernels_);
}

WarmUpSteps CpuLlm::StepsToWarmUp(const LanguageModel&) const {
  if (!options_.warm_up) return {};
  return {.decodes = {{.sequences = 1, .positions = kWarmUpTokens}},
          .prompt_tokens_max = kWarmUpTokens};
}

absl::Status CpuLlm::Forward(const LanguageModel& model, const KvLayout& layout,
                             std::span<const ForwardItem> items, LlmBatches::Answers& answers) {
  ASSIGN_OR_RETURN(DecoderForward* const forward, FindModel(&model));
  return forward->Run(
      layout, items,
      [&](size_t item, std::span<const float> logits) { answers.OnLogits(item, logits); },
      [&](int32_t layers) { answers.OnLayers(layers); }, [&] { answers.OnPause(); });
}

absl::StatusOr<DecoderForward*> CpuLlm::FindModel(const LanguageModel* model) {
  const std::lock_guard lock(models_mutex_);
  const auto found = models_.find(model);
  if (found == models_.end()) {
    return absl::InternalError("a batch for a model that was not loaded into the CPU executor");
  }
  return found->second.get();
}

}  // namespace baton
