#include "engine/exec/plugin_encoder.h"

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/exec/plugin_model.h"

namespace baton {
namespace {

baton_linear LinearOf(const LinearView& linear) {
  return {.w = AbiMatrixOf(linear.w), .bias = linear.bias};
}

baton_layer_norm NormOf(const LayerNormView& norm) {
  return {.weight = norm.weight, .bias = norm.bias};
}

baton_encoder_layer LayerOf(const EncoderLayerWeights& w) {
  return {.query = LinearOf(w.query),
          .key = LinearOf(w.key),
          .value = LinearOf(w.value),
          .output = LinearOf(w.output),
          .attention_norm = NormOf(w.attention_norm),
          .up = LinearOf(w.up),
          .down = LinearOf(w.down),
          .ffn_norm = NormOf(w.ffn_norm)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<EncoderPass>> PluginEncoder::Load(
    std::shared_ptr<PluginDevice> device, std::shared_ptr<const TextEncoder> encoder) {
  const EncoderShape& shape = encoder->shape();
  const EncoderWeights& weights = encoder->weights();
  std::vector<baton_encoder_layer> layers;
  for (const EncoderLayerWeights& layer : weights.layers) layers.push_back(LayerOf(layer));
  const baton_encoder_model described = {
      .struct_size = sizeof(described),
      .layer_struct_size = sizeof(baton_encoder_layer),
      .name = encoder->name().c_str(),
      .dim = shape.dim,
      .ffn_dim = shape.ffn_dim,
      .layer_count = shape.layers,
      .heads = shape.heads,
      .vocabulary = shape.vocabulary,
      .context_tokens = shape.context_tokens,
      .pooling = static_cast<int32_t>(shape.pooling),
      .norm_epsilon = shape.norm_epsilon,
      .token_embedding = AbiMatrixOf(weights.token_embedding),
      .position_embedding = AbiMatrixOf(weights.position_embedding),
      .type_embedding = AbiMatrixOf(weights.type_embedding),
      .embedding_norm = NormOf(weights.embedding_norm),
      .layers = layers.data(),
      .dense = LinearOf(weights.dense),
      .score = LinearOf(weights.score)};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  std::unique_ptr<PluginEncoder> made(new PluginEncoder(device, encoder));
  baton_loaded_encoder* loaded = nullptr;
  RETURN_IF_ERROR(
      PluginDevice::StatusOf(device->table().encoder_load(device->handle(), &described, &loaded,
                                                          &made->tokens_max_, &error),
                             error));
  made->loaded_ = {loaded, Unload{std::move(device)}};
  return made;
}

absl::Status PluginEncoder::Run(std::span<const EncoderText> texts,
                                std::vector<std::vector<float>>* embeddings) {
  std::vector<baton_encoder_text> described;
  for (const EncoderText& text : texts) {
    described.push_back({.tokens = text.tokens.data(),
                         .token_count = static_cast<int32_t>(text.tokens.size()),
                         .second = text.second});
  }
  const bool deterministic = std::any_of(
      texts.begin(), texts.end(), [](const EncoderText& text) { return text.deterministic; });
  const auto dimension = static_cast<size_t>(encoder_->dimension());
  std::vector<float> values(texts.size() * dimension);
  const baton_encoder_batch batch = {.struct_size = sizeof(batch),
                                     .text_struct_size = sizeof(baton_encoder_text),
                                     .texts = described.data(),
                                     .text_count = std::ssize(described),
                                     .embeddings = values.data(),
                                     .flags = deterministic ? BATON_BATCH_DETERMINISTIC : 0u,
                                     .reserved = 0};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device_->table().encoder_run(device_->handle(), loaded_.get(), &batch, &error), error));
  for (size_t i = 0; i < texts.size(); ++i) {
    const float* const from = values.data() + i * dimension;
    embeddings->emplace_back(from, from + dimension);
  }
  return absl::OkStatus();
}

}  // namespace baton
