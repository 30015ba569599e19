#include "engine/exec/plugin_model.h"

#include <cstddef>

#include "engine/model/rope.h"

namespace baton {
namespace {

baton_llm_layer LayerOf(const LlmLayerWeights& w, int32_t window) {
  return {.attention_norm = w.attention_norm,
          .ffn_norm = w.ffn_norm,
          .query = AbiMatrixOf(w.query),
          .key = AbiMatrixOf(w.key),
          .value = AbiMatrixOf(w.value),
          .query_bias = w.query_bias,
          .key_bias = w.key_bias,
          .value_bias = w.value_bias,
          .query_norm = w.query_norm,
          .key_norm = w.key_norm,
          .output = AbiMatrixOf(w.output),
          .output_bias = w.output_bias,
          .attention_post_norm = w.attention_post_norm,
          .gate = AbiMatrixOf(w.gate),
          .up = AbiMatrixOf(w.up),
          .down = AbiMatrixOf(w.down),
          .ffn_post_norm = w.ffn_post_norm,
          .window = window,
          .reserved = 0};
}

}  // namespace

baton_matrix AbiMatrixOf(const MatrixView& view) {
  return {.data = view.data,
          .rows = view.rows,
          .cols = view.cols,
          .row_bytes = RowBytes(view.type, view.cols),
          .type = static_cast<uint32_t>(view.type),
          .reserved = 0};
}

PluginModel::PluginModel(const LanguageModel& model) {
  const LlmShape& shape = model.shape();
  const LlmWeights& weights = model.weights();
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    layers_.push_back(LayerOf(weights.layers[i], shape.windows[i]));
  }
  frequency_ = RopeFrequencies(shape.rope, shape.rope_dims);
  if (shape.window_rope) window_frequency_ = RopeFrequencies(*shape.window_rope, shape.rope_dims);
  model_ = {
      .struct_size = sizeof(model_),
      .layer_struct_size = sizeof(baton_llm_layer),
      .name = model.name().c_str(),
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
      .rope = {.frequency = frequency_.data(), .magnitude = shape.rope.magnitude, .reserved = 0},
      .window_rope = {.frequency = shape.window_rope ? window_frequency_.data() : nullptr,
                      .magnitude = shape.window_rope ? shape.window_rope->magnitude : 1,
                      .reserved = 0},
      .token_embedding = AbiMatrixOf(weights.token_embedding),
      .layers = layers_.data(),
      .output_norm = weights.output_norm,
      .output = AbiMatrixOf(weights.output)};
}

}  // namespace baton
