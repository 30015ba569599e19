#include "engine/exec/plugin_llm.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
PluginLlm::PluginLlm(std::shared_ptr<PluginDevice> device, int64_t queue_batches,
                     const Clock& clock)
    : device_(std::move(device)),
      batches_({.device = device_->options().label, .queue_batches = queue_batches}, clock,
               [this](const LanguageModel& model, const KvLayout& layout,
                      std::span<const ForwardItem> items, LlmBatches::Answers& answers) {
                 return Forward(model, layout, items, answers);
               }) {}

absl::Status PluginLlm::LoadModel(std::shared_ptr<const LanguageModel> model) {
  const LanguageModel* const key = model.get();
  ASSIGN_OR_RETURN(std::unique_ptr<PluginForward> forward,
                   PluginForward::Load(device_, std::move(model)));
  const std::lock_guard lock(models_mutex_);
  models_.try_emplace(key, std::move(forward));
  return absl::OkStatus();
}

void PluginLlm::UnloadModel(const LanguageModel& model) {
  decltype(models_)::node_type unloaded;  // outlives the lock: freeing takes a while
  const std::lock_guard lock(models_mutex_);
  unloaded = models_.extract(&model);
}

// Prompts of quantised models are multiplied as floats, tokens one by one with activations of int8.
bool PluginLlm::TellsPromptsApart(const LanguageModel& model) const {
  const auto quantised = [](const MatrixView& matrix) { return BlockWeights(matrix.type) > 1; };
  const std::vector<LlmLayerWeights>& layers = model.weights().layers;
  return std::any_of(layers.begin(), layers.end(), [&](const LlmLayerWeights& w) {
    return quantised(w.query) || quantised(w.key) || quantised(w.value) || quantised(w.output) ||
           quantised(w.gate) || quantised(w.up) || quantised(w.down);
  });
}

PluginForward* PluginLlm::Find(const LanguageModel& model) const {
  const std::lock_guard lock(models_mutex_);
  const auto found = models_.find(&model);
  return found == models_.end() ? nullptr : found->second.get();
}

WarmUpSteps PluginLlm::StepsToWarmUp(const LanguageModel& model) const {
  const PluginForward* const forward = device_->options().warm_up ? Find(model) : nullptr;
  if (forward == nullptr) return {};
  return {.decodes = forward->WarmUpShapes(),
          .prompt_tokens_max = std::numeric_limits<int32_t>::max()};
}

absl::Status PluginLlm::Forward(const LanguageModel& model, const KvLayout& layout,
                                std::span<const ForwardItem> items, LlmBatches::Answers& answers) {
  PluginForward* const forward = Find(model);
  if (forward == nullptr) {
    return absl::InternalError(StrCat("a batch for a model that was not loaded into the ",
                                      device_->options().label, " executor"));
  }
  const auto on_layers = [&](int32_t layers) { answers.OnLayers(layers); };
  return forward->Run(
      layout, items,
      [&](size_t item, std::span<const float> logits) { answers.OnLogits(item, logits); },
      [&](size_t item, ChosenToken chosen) { answers.OnToken(item, std::move(chosen)); },
      answers.asks_layers() ? PluginForward::OnLayers(on_layers) : std::nullopt);
}

}  // namespace baton
