#include "engine/exec/plugin_forward.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/rope.h"

namespace baton {
namespace {

baton_matrix MatrixOf(const MatrixView& view) {
  return {.data = view.data,
          .rows = view.rows,
          .cols = view.cols,
          .row_bytes = RowBytes(view.type, view.cols),
          .type = static_cast<uint32_t>(view.type),
          .reserved = 0};
}

baton_llm_layer LayerOf(const LlmLayerWeights& w, int32_t window) {
  return {.attention_norm = w.attention_norm,
          .ffn_norm = w.ffn_norm,
          .query = MatrixOf(w.query),
          .key = MatrixOf(w.key),
          .value = MatrixOf(w.value),
          .query_bias = w.query_bias,
          .key_bias = w.key_bias,
          .value_bias = w.value_bias,
          .query_norm = w.query_norm,
          .key_norm = w.key_norm,
          .output = MatrixOf(w.output),
          .output_bias = w.output_bias,
          .attention_post_norm = w.attention_post_norm,
          .gate = MatrixOf(w.gate),
          .up = MatrixOf(w.up),
          .down = MatrixOf(w.down),
          .ffn_post_norm = w.ffn_post_norm,
          .window = window,
          .reserved = 0};
}

int32_t KvTypeOf(KvType type) {
  switch (type) {
    case KvType::kF32:
      return BATON_KV_F32;
    case KvType::kF16:
      return BATON_KV_F16;
    case KvType::kBF16:
      return BATON_KV_BF16;
    case KvType::kInt8:
      break;
  }
  return BATON_KV_INT8;
}

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
  const LlmShape& shape = model->shape();
  const LlmWeights& weights = model->weights();
  std::vector<baton_llm_layer> layers;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    layers.push_back(LayerOf(weights.layers[i], shape.windows[i]));
  }
  const std::vector<double> frequency = RopeFrequencies(shape.rope, shape.rope_dims);
  std::vector<double> window_frequency;
  if (shape.window_rope) window_frequency = RopeFrequencies(*shape.window_rope, shape.rope_dims);
  const baton_llm_model described = {
      .struct_size = sizeof(described),
      .layer_struct_size = sizeof(baton_llm_layer),
      .name = model->name().c_str(),
      .dim = shape.dim,
      .ffn_dim = shape.ffn_dim,
      .layer_count = shape.layers,
      .heads = shape.heads,
      .kv_heads = shape.kv_heads,
      .head_dim = shape.head_dim,
      .vocabulary = shape.vocabulary,
      .context_tokens = shape.context_tokens,
      .rope_dims = shape.rope_dims,
      .rope_halves = shape.rope_pairs == RopePairs::kHalves ? 1 : 0,
      .gate = shape.activation == Activation::kSilu ? BATON_GATE_SILU : BATON_GATE_GELU,
      .rms_epsilon = shape.rms_epsilon,
      .embedding_scale = shape.embedding_scale,
      .attention_scale = shape.attention_scale,
      .score_cap = shape.score_cap,
      .logit_cap = shape.logit_cap,
      .rope = {.frequency = frequency.data(), .magnitude = shape.rope.magnitude, .reserved = 0},
      .window_rope = {.frequency = shape.window_rope ? window_frequency.data() : nullptr,
                      .magnitude = shape.window_rope ? shape.window_rope->magnitude : 1,
                      .reserved = 0},
      .token_embedding = MatrixOf(weights.token_embedding),
      .layers = layers.data(),
      .output_norm = weights.output_norm,
      .output = MatrixOf(weights.output)};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  baton_loaded_model* loaded = nullptr;
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device->table().model_load(device->handle(), &described, &loaded, &error), error));
  std::unique_ptr<PluginForward> forward(new PluginForward(device, std::move(model)));
  forward->loaded_ = {loaded, Unload{std::move(device)}};
  return forward;
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
      .layout = {.layers = layout.layers,
                 .kv_heads = layout.kv_heads,
                 .head_dim = layout.head_dim,
                 .block_tokens = layout.block_tokens,
                 .type = KvTypeOf(layout.type),
                 .reserved = 0},
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
