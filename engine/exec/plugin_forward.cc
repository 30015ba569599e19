#include "engine/exec/plugin_forward.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_kv.h"
#include "engine/exec/plugin_model.h"

namespace baton {
namespace {

// What the plug-in's callbacks reach.
struct Callbacks {
  PluginForward::OnLogits on_logits;
  PluginForward::OnToken on_token;
  PluginForward::OnLayers on_layers;
  size_t vocabulary;
  std::optional<TokenLogprobs> logprobs;  // of the token that comes next
};

TokenLogprobs LogprobsOf(const baton_token_logprobs& told) {
  TokenLogprobs logprobs{.token = {.logprob = told.chosen}};
  for (int32_t i = 0; i < told.top_count; ++i) {
    logprobs.top.push_back({.id = told.top_tokens[i], .logprob = told.top_logprobs[i]});
  }
  return logprobs;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PluginForward>> PluginForward::Load(
    std::shared_ptr<PluginDevice> device, std::shared_ptr<const LanguageModel> model) {
  const PluginModel described(*model);
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  baton_loaded_model* loaded = nullptr;
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device->table().model_load(device->handle(), &described.get(), &loaded, &error), error));
  std::unique_ptr<PluginForward> forward(new PluginForward(device, std::move(model)));
  forward->loaded_ = {loaded, Unload{std::move(device)}};
  return forward;
}

std::vector<DecodeShape> PluginForward::WarmUpShapes() const {
  constexpr size_t kWarmsUp =
      offsetof(baton_executor_plugin, warm_up_step) + sizeof(baton_executor_plugin::warm_up_step);
  constexpr uint32_t kShapesMax = 4096;  // whatever a plug-in says
  const baton_executor_plugin& table = device_->table();
  std::vector<DecodeShape> shapes;
  if (table.struct_size < kWarmsUp || table.warm_up_step == nullptr) return shapes;
  DecodeShape shape;
  for (uint32_t index = 0; index < kShapesMax; ++index) {
    if (table.warm_up_step(device_->handle(), loaded_.get(), index, &shape.sequences,
                           &shape.positions) == 0) {
      break;
    }
    shapes.push_back(shape);
  }
  return shapes;
}

bool PluginForward::Chooses(const ForwardItem& item) const {
  if (!item.sampling) return false;
  return device_->ChangesLogits() || (!item.sampling->changes.any() && !item.logprobs);
}

void PluginForward::Describe(const LogitChanges& from, Changes* to) {
  to->biases.clear();
  to->repeated.clear();
  to->penalties.clear();
  for (const auto& [token, bias] : from.biases) to->biases.push_back({token, bias});
  for (const auto& [token, count] : from.repeated) to->repeated.push_back(token);
  for (const auto& [token, count] : from.chosen) {
    to->penalties.push_back({token, from.PenaltyOf(count)});
  }
  to->lists = {.struct_size = sizeof(to->lists),
               .repetition = from.repetition,
               .bias_count = std::ssize(to->biases),
               .repeated_count = std::ssize(to->repeated),
               .penalty_count = std::ssize(to->penalties),
               .excluded_count = std::ssize(from.excluded),
               .biases = to->biases.data(),
               .repeated = to->repeated.data(),
               .penalties = to->penalties.data(),
               .excluded = from.excluded.data()};
}

absl::Status PluginForward::Run(const KvLayout& layout, std::span<const ForwardItem> items,
                                OnLogits on_logits, OnToken on_token, OnLayers on_layers) {
  items_.clear();
  samplings_.clear();
  const bool deterministic = std::any_of(
      items.begin(), items.end(), [](const ForwardItem& item) { return item.deterministic; });
  samplings_.reserve(items.size());                                   // items_ points into it
  if (changes_.size() < items.size()) changes_.resize(items.size());  // and into this
  for (const ForwardItem& item : items) {
    const baton_sampling* sampling = nullptr;
    const bool chooses = Chooses(item);
    const bool changes = chooses && item.sampling->changes.any();
    if (chooses) {
      samplings_.push_back({.temperature = item.sampling->temperature,
                            .top_k = item.sampling->top_k,
                            .top_p = item.sampling->top_p,
                            .min_p = item.sampling->min_p,
                            .random_state = item.sampling->random_state});
      sampling = &samplings_.back();
    }
    Changes& of_item = changes_[items_.size()];
    if (changes) Describe(item.sampling->changes, &of_item);
    items_.push_back({.tokens = item.tokens.data(),
                      .token_count = static_cast<int32_t>(item.tokens.size()),
                      .position = item.position,
                      .blocks = reinterpret_cast<void* const*>(item.blocks.data()),
                      .block_count = static_cast<int32_t>(item.blocks.size()),
                      .logits = item.logits,
                      .sampling = sampling,
                      .changes = changes ? &of_item.lists : nullptr,
                      .logprobs_wanted = chooses && item.logprobs ? 1 : 0,
                      .logprobs_top = item.logprobs.value_or(0)});
  }
  Callbacks callbacks{.on_logits = on_logits,
                      .on_token = on_token,
                      .on_layers = on_layers,
                      .vocabulary = static_cast<size_t>(model_->shape().vocabulary),
                      .logprobs = std::nullopt};
  baton_llm_batch batch = {
      .struct_size = sizeof(batch),
      .item_struct_size = sizeof(baton_llm_item),
      .items = items_.data(),
      .item_count = std::ssize(items_),
      .layout = AbiKvLayoutOf(layout),
      .context = &callbacks,
      .on_logits =
          [](void* context, int64_t item, const float* logits) {
            const Callbacks& to = *static_cast<Callbacks*>(context);
            to.on_logits(static_cast<size_t>(item), {logits, to.vocabulary});
          },
      .on_token =
          [](void* context, int64_t item, int32_t token, uint64_t random_state) {
            Callbacks& to = *static_cast<Callbacks*>(context);
            if (to.logprobs) to.logprobs->token.id = token;
            to.on_token(static_cast<size_t>(item),
                        {.token = token,
                         .random_state = random_state,
                         .logprobs = std::exchange(to.logprobs, std::nullopt)});
          },
      .flags = deterministic ? BATON_BATCH_DETERMINISTIC : 0u,
      .reserved = 0,
      .on_layers = nullptr,
      .on_logprobs =
          [](void* context, int64_t, const baton_token_logprobs* logprobs) {
            static_cast<Callbacks*>(context)->logprobs = LogprobsOf(*logprobs);
          }};
  if (on_layers) {
    batch.on_layers = [](void* context, int32_t layers) {
      (*static_cast<Callbacks*>(context)->on_layers)(layers);
    };
  }
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  return PluginDevice::StatusOf(
      device_->table().llm_run(device_->handle(), loaded_.get(), &batch, &error), error);
}

}  // namespace baton
