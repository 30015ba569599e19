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
};

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

absl::Status PluginForward::Run(const KvLayout& layout, std::span<const ForwardItem> items,
                                OnLogits on_logits, OnToken on_token, OnLayers on_layers) {
  items_.clear();
  samplings_.clear();
  const bool deterministic = std::any_of(
      items.begin(), items.end(), [](const ForwardItem& item) { return item.deterministic; });
  samplings_.reserve(items.size());  // items_ points into it
  for (const ForwardItem& item : items) {
    const baton_sampling* sampling = nullptr;
    if (item.sampling) {
      samplings_.push_back({.temperature = item.sampling->temperature,
                            .top_k = item.sampling->top_k,
                            .top_p = item.sampling->top_p,
                            .min_p = item.sampling->min_p,
                            .random_state = item.sampling->random_state});
      sampling = &samplings_.back();
    }
    items_.push_back({.tokens = item.tokens.data(),
                      .token_count = static_cast<int32_t>(item.tokens.size()),
                      .position = item.position,
                      .blocks = reinterpret_cast<void* const*>(item.blocks.data()),
                      .block_count = static_cast<int32_t>(item.blocks.size()),
                      .logits = item.logits,
                      .sampling = sampling});
  }
  Callbacks callbacks{.on_logits = on_logits,
                      .on_token = on_token,
                      .on_layers = on_layers,
                      .vocabulary = static_cast<size_t>(model_->shape().vocabulary)};
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
            static_cast<Callbacks*>(context)->on_token(static_cast<size_t>(item), token,
                                                       random_state);
          },
      .flags = deterministic ? BATON_BATCH_DETERMINISTIC : 0u,
      .reserved = 0,
      .on_layers = nullptr};
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
