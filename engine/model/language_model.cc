#include "engine/model/language_model.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"
#include "engine/model/model_reader.h"

namespace baton {
namespace {

// Above any published model of these architectures, and low enough that no product of them in the
// executors overflows 64 bits.
constexpr int64_t kMaxDim = 1 << 20;
constexpr int64_t kMaxFfnDim = 1 << 22;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxContextTokens = 1 << 24;
constexpr size_t kMaxChatTemplates = 64;  // published files have up to three

class GgufLanguageModel final : public LanguageModel {
 public:
  const std::string& name() const override { return name_; }
  const std::string& path() const override { return file_->path(); }
  const LlmShape& shape() const override { return shape_; }
  const LlmWeights& weights() const override { return weights_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  const ChatTemplates& chat_templates() const override { return chat_templates_; }
  int64_t weight_bytes() const override { return weight_bytes_; }

 private:
  friend class Loader;
  std::string name_;
  std::unique_ptr<const GgufFile> file_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  ChatTemplates chat_templates_;
  LlmShape shape_;
  LlmWeights weights_;
  int64_t weight_bytes_ = 0;
};

// UNIMPLEMENTED: the file's architecture is none of those supported.
absl::StatusOr<const Architecture*> ReadArchitecture(const GgufFile& file) {
  ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.architecture"));
  const Architecture* const architecture = FindArchitecture(name);
  if (architecture == nullptr) {
    return file.Error(absl::StatusCode::kUnimplemented,
                      StrCat("key 'general.architecture' is '", Escaped(name), "', only ",
                             SupportedArchitectures(), " are supported"));
  }
  return architecture;
}

// Fills a model from its file, checking each fact before anything relies on it.
class Loader {
 public:
  Loader(const GgufFile& file, const Architecture& architecture, GgufLanguageModel& model)
      : file_(file),
        architecture_(architecture),
        model_(model),
        reader_(file, std::string(architecture.name)) {}

  absl::Status Load() {
    RETURN_IF_ERROR(CheckSupported());
    RETURN_IF_ERROR(ReadShape());
    RETURN_IF_ERROR(ReadAttention());
    RETURN_IF_ERROR(ReadWindows());
    RETURN_IF_ERROR(ReadRope());
    ASSIGN_OR_RETURN(model_.tokenizer_, MakeTokenizer(file_));
    RETURN_IF_ERROR(ReadChatTemplates());
    RETURN_IF_ERROR(CheckVocabulary());
    RETURN_IF_ERROR(ReadWeights());
    // Old converters also stored the rotation tables, which follow from the keys.
    RETURN_IF_ERROR(reader_.CheckNothingUnused({".rot_embd.weight", ".attn_rot_embd.weight"}));
    model_.weight_bytes_ = reader_.weight_bytes();
    model_.shape_.parameters = reader_.parameters();
    return absl::OkStatus();
  }

  static absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadModel(
      std::string name, std::unique_ptr<const GgufFile> file) {
    auto model = std::make_shared<GgufLanguageModel>();
    model->name_ = std::move(name);
    model->file_ = std::move(file);
    ASSIGN_OR_RETURN(const Architecture* const architecture, ReadArchitecture(*model->file_));
    RETURN_IF_ERROR(Loader(*model->file_, *architecture, *model).Load());
    return model;
  }

 private:
  absl::Status CheckSupported() {
    model_.shape_.architecture = std::string(architecture_.name);
    ASSIGN_OR_RETURN(const int64_t experts, file_.GetIntOr(reader_.Key("expert_count"), 0));
    if (experts > 0) {
      return reader_.Unsupported(StrCat("mixtures of experts (key '", reader_.Key("expert_count"),
                                        "') are not supported"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadChatTemplates() {
    constexpr std::string_view kKey = "tokenizer.chat_template";
    constexpr std::string_view kNamesKey = "tokenizer.chat_templates";
    std::vector<ChatTemplates::Source> sources;
    if (file_.Type(kKey).has_value()) {
      ASSIGN_OR_RETURN(const std::string_view text, file_.GetString(kKey));
      sources.push_back({.name = "default", .text = std::string(text)});
    }
    if (file_.Type(kNamesKey).has_value()) {
      ASSIGN_OR_RETURN(const auto names, file_.GetStrings(kNamesKey));
      if (names.size() > kMaxChatTemplates) {
        return reader_.Bad(StrCat("key '", kNamesKey, "' has ", names.size(), " elements, at most ",
                                  kMaxChatTemplates, " are read"));
      }
      for (const std::string_view name : names) {
        const std::string key = StrCat(kKey, ".", name);
        // The default one stands under the key without a name.
        if (!file_.Type(key).has_value()) continue;
        ASSIGN_OR_RETURN(const std::string_view text, file_.GetString(key));
        sources.push_back({.name = std::string(name), .text = std::string(text)});
      }
    }
    const Tokenizer& tokenizer = *model_.tokenizer_;
    const auto spelling = [&tokenizer](std::optional<TokenId> token) {
      return std::string(token.has_value() ? tokenizer.Spelling(*token) : "");
    };
    model_.chat_templates_ = ChatTemplates(
        std::move(sources), {.bos = spelling(tokenizer.bos()), .eos = spelling(tokenizer.eos())});
    return absl::OkStatus();
  }

  // A cap on scores or logits; 0: none.
  absl::StatusOr<float> ReadCap(std::string_view suffix, double absent) const {
    ASSIGN_OR_RETURN(const double value, file_.GetFloatOr(reader_.Key(suffix), absent));
    if (value == 0) {
      return 0.0f;
    }
    return reader_.ReadPositive(suffix, absent);
  }

  absl::Status ReadShape() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(shape.dim, reader_.ReadInt("embedding_length", std::nullopt, {1, kMaxDim}));
    ASSIGN_OR_RETURN(shape.ffn_dim,
                     reader_.ReadInt("feed_forward_length", std::nullopt, {1, kMaxFfnDim}));
    ASSIGN_OR_RETURN(shape.layers, reader_.ReadInt("block_count", std::nullopt, {1, kMaxLayers}));
    ASSIGN_OR_RETURN(shape.context_tokens,
                     reader_.ReadInt("context_length", std::nullopt, {1, kMaxContextTokens}));
    ASSIGN_OR_RETURN(shape.heads,
                     reader_.ReadInt("attention.head_count", std::nullopt, {1, shape.dim}));
    ASSIGN_OR_RETURN(shape.kv_heads,
                     reader_.ReadInt("attention.head_count_kv", shape.heads, {1, shape.heads}));
    if (shape.heads % shape.kv_heads != 0) {
      return reader_.Bad(StrCat("key '", reader_.Key("attention.head_count_kv"), "' is ",
                                shape.kv_heads, ", which does not divide the ", shape.heads,
                                " heads"));
    }
    if (!file_.Type(reader_.Key("attention.key_length")).has_value() &&
        shape.dim % shape.heads != 0) {
      return reader_.Bad(StrCat("key '", reader_.Key("embedding_length"), "' is ", shape.dim,
                                ", which ", shape.heads, " heads do not divide"));
    }
    ASSIGN_OR_RETURN(shape.head_dim,
                     reader_.ReadInt("attention.key_length", shape.dim / shape.heads,
                                     {1, kMaxDim / shape.heads}));
    ASSIGN_OR_RETURN(const int32_t value_dim,
                     reader_.ReadInt("attention.value_length", shape.head_dim, {1, kMaxDim}));
    if (value_dim != shape.head_dim) {
      return reader_.Unsupported(StrCat("keys of ", shape.head_dim, " and values of ", value_dim,
                                        " dimensions per head: different sizes are not supported"));
    }
    ASSIGN_OR_RETURN(shape.rms_epsilon,
                     reader_.ReadPositive("attention.layer_norm_rms_epsilon", std::nullopt));
    return absl::OkStatus();
  }

  absl::Status ReadAttention() {
    LlmShape& shape = model_.shape_;
    shape.rope_pairs = architecture_.rope_pairs;
    shape.activation = architecture_.activation;
    if (architecture_.scaled_embedding) {
      shape.embedding_scale = std::sqrt(static_cast<float>(shape.dim));
    }
    const int32_t scaled_by = shape.layers == architecture_.width_scaled_layers
                                  ? shape.dim / shape.heads
                                  : shape.head_dim;
    ASSIGN_OR_RETURN(
        shape.attention_scale,
        reader_.ReadPositive("attention.scale", 1.0f / std::sqrt(static_cast<float>(scaled_by))));
    ASSIGN_OR_RETURN(shape.score_cap, ReadCap("attn_logit_softcapping", architecture_.score_cap));
    ASSIGN_OR_RETURN(shape.logit_cap, ReadCap("final_logit_softcapping", architecture_.logit_cap));
    return absl::OkStatus();
  }

  absl::Status ReadWindows() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(
        const int32_t window,
        reader_.ReadInt("attention.sliding_window", architecture_.window, {0, kMaxContextTokens}));
    ASSIGN_OR_RETURN(const int32_t period,
                     reader_.ReadInt("attention.sliding_window_pattern",
                                     architecture_.window_period, {0, kMaxLayers}));
    for (int32_t layer = 0; layer < shape.layers; ++layer) {
      const bool windowed = period == 0 || layer % period < period - 1;
      shape.windows.push_back(windowed ? window : 0);
    }
    return absl::OkStatus();
  }

  absl::Status ReadRope() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(shape.rope_dims,
                     reader_.ReadInt("rope.dimension_count", shape.head_dim, {2, shape.head_dim}));
    if (shape.rope_dims % 2 != 0) {
      return reader_.Bad(StrCat("key '", reader_.Key("rope.dimension_count"), "' is ",
                                shape.rope_dims, ", an even number is needed"));
    }
    ASSIGN_OR_RETURN(shape.rope.base, reader_.ReadPositive("rope.freq_base", 10000.0));
    ASSIGN_OR_RETURN(shape.rope.original_context_tokens,
                     reader_.ReadInt("rope.scaling.original_context_length", shape.context_tokens,
                                     {1, kMaxContextTokens}));
    ASSIGN_OR_RETURN(shape.rope.magnitude, reader_.ReadPositive("rope.scaling.attn_factor", 1.0));
    if (architecture_.window_rope_base > 0) {
      shape.window_rope.emplace();
      ASSIGN_OR_RETURN(shape.window_rope->base,
                       reader_.ReadPositive("rope.freq_base_swa", architecture_.window_rope_base));
    }
    return ReadRopeScaling(shape.rope);
  }

  absl::Status ReadRopeScaling(RopeParameters& rope) {
    const bool long_factors = architecture_.rope_factors == RopeFactors::kShortAndLong;
    ASSIGN_OR_RETURN(const std::string_view type,
                     file_.GetStringOr(reader_.Key("rope.scaling.type"), "linear"));
    if (type == "none" || (type == "longrope" && long_factors)) {
      return absl::OkStatus();
    }
    if (type != "linear" && type != "yarn") {
      return reader_.Unsupported(StrCat("key '", reader_.Key("rope.scaling.type"), "' is '",
                                        Escaped(type), "', only 'none', 'linear'",
                                        long_factors ? ", 'yarn' and 'longrope'" : " and 'yarn'",
                                        " are supported"));
    }
    // Before GGUF had scaling types, the factor stood under another key.
    ASSIGN_OR_RETURN(const double old_factor,
                     file_.GetFloatOr(reader_.Key("rope.scale_linear"), 1.0));
    ASSIGN_OR_RETURN(const float factor, reader_.ReadPositive("rope.scaling.factor", old_factor));
    rope.scale = 1.0f / factor;
    return type == "yarn" ? ReadYarn(factor, rope) : absl::OkStatus();
  }

  absl::Status ReadYarn(float factor, RopeParameters& rope) {
    if (!(rope.base > 1)) {
      return reader_.Bad(StrCat("key '", reader_.Key("rope.freq_base"), "' is ", rope.base,
                                ", yarn needs a number above 1"));
    }
    ASSIGN_OR_RETURN(rope.yarn_mix, reader_.ReadPositive("rope.scaling.yarn_ext_factor", 1.0));
    ASSIGN_OR_RETURN(rope.yarn_beta_fast,
                     reader_.ReadPositive("rope.scaling.yarn_beta_fast", rope.yarn_beta_fast));
    ASSIGN_OR_RETURN(rope.yarn_beta_slow,
                     reader_.ReadPositive("rope.scaling.yarn_beta_slow", rope.yarn_beta_slow));
    // The paper's remedy for attention that flattens with length: 0.1 ln(s) + 1.
    rope.magnitude *= 1 + 0.1f * std::log(std::max(1.0f, factor));
    return absl::OkStatus();
  }

  absl::Status CheckVocabulary() {
    LlmShape& shape = model_.shape_;
    shape.vocabulary = model_.tokenizer_->vocabulary();
    ASSIGN_OR_RETURN(const int64_t stated,
                     file_.GetIntOr(reader_.Key("vocab_size"), shape.vocabulary));
    if (stated != shape.vocabulary) {
      return reader_.Bad(StrCat("key '", reader_.Key("vocab_size"), "' is ", stated,
                                ", but the tokenizer has ", shape.vocabulary, " tokens"));
    }
    return absl::OkStatus();
  }

  // Null: the file need not have it, and does not.
  absl::StatusOr<const float*> TakeVector(const std::string& name, int64_t size,
                                          Presence presence) {
    switch (presence) {
      case Presence::kAbsent:
        break;
      case Presence::kOptional:
        return reader_.TakeOptionalVector(name, size);
      case Presence::kRequired:
        return reader_.TakeVector(name, size);
    }
    return nullptr;
  }

  absl::Status ReadWeights() {
    LlmShape& shape = model_.shape_;
    LlmWeights& weights = model_.weights_;
    ASSIGN_OR_RETURN(weights.token_embedding,
                     reader_.TakeMatrix("token_embd.weight", shape.vocabulary, shape.dim));
    ASSIGN_OR_RETURN(weights.output_norm, reader_.TakeVector("output_norm.weight", shape.dim));
    weights.output = weights.token_embedding;
    if (file_.FindTensor("output.weight") != nullptr) {
      ASSIGN_OR_RETURN(weights.output,
                       reader_.TakeMatrix("output.weight", shape.vocabulary, shape.dim));
    }
    ASSIGN_OR_RETURN(shape.rope.factors, ReadRopeFactors());
    for (const double frequency : RopeFrequencies(shape.rope, shape.rope_dims)) {
      if (!std::isfinite(frequency)) {
        return reader_.Bad(
            StrCat("keys '", reader_.Key("rope.*"), "' give a frequency of ", frequency));
      }
    }
    for (int32_t i = 0; i < shape.layers; ++i) {
      ASSIGN_OR_RETURN(LlmLayerWeights layer, ReadLayer(StrCat("blk.", i, ".")));
      weights.layers.push_back(layer);
    }
    return absl::OkStatus();
  }

  // Null: none.
  absl::StatusOr<const float*> ReadRopeFactors() {
    const LlmShape& shape = model_.shape_;
    switch (architecture_.rope_factors) {
      case RopeFactors::kNone:
        break;
      case RopeFactors::kOne:
        return TakeRopeFactors("rope_freqs.weight");
      case RopeFactors::kShortAndLong: {
        // One of them serves all contexts: a sequence's keys, once rotated, stay as they are, so a
        // model that may grow beyond its original context has the long ones from the start.
        ASSIGN_OR_RETURN(const float* const short_ones,
                         TakeRopeFactors("rope_factors_short.weight"));
        ASSIGN_OR_RETURN(const float* const long_ones, TakeRopeFactors("rope_factors_long.weight"));
        if ((short_ones == nullptr) != (long_ones == nullptr)) {
          return reader_.Bad(StrCat("tensor 'rope_factors_",
                                    short_ones == nullptr ? "short" : "long",
                                    ".weight' is missing"));
        }
        return shape.context_tokens > shape.rope.original_context_tokens ? long_ones : short_ones;
      }
    }
    return nullptr;
  }

  absl::StatusOr<const float*> TakeRopeFactors(const std::string& name) {
    const int32_t pairs = model_.shape_.rope_dims / 2;
    ASSIGN_OR_RETURN(const float* const factors, reader_.TakeOptionalVector(name, pairs));
    for (int32_t i = 0; factors != nullptr && i < pairs; ++i) {
      if (!(factors[i] > 0)) {
        return reader_.Bad(StrCat("tensor '", name, "': element ", i, " is ", factors[i],
                                  ", positive numbers are needed"));
      }
    }
    return factors;
  }

  // prefix: of the layer's tensors.
  absl::StatusOr<LlmLayerWeights> ReadLayer(const std::string& prefix) {
    const LlmShape& shape = model_.shape_;
    const int64_t query_dim = int64_t{shape.heads} * shape.head_dim;
    const auto of = [](bool present) { return present ? Presence::kRequired : Presence::kAbsent; };
    const Presence qk_norms = of(architecture_.qk_norms);
    const Presence post_norms = of(architecture_.post_norms);
    LlmLayerWeights layer;
    ASSIGN_OR_RETURN(layer.attention_norm,
                     reader_.TakeVector(prefix + "attn_norm.weight", shape.dim));
    RETURN_IF_ERROR(ReadQueryKeyValue(prefix, layer));
    ASSIGN_OR_RETURN(layer.query_norm,
                     TakeVector(prefix + "attn_q_norm.weight", shape.head_dim, qk_norms));
    ASSIGN_OR_RETURN(layer.key_norm,
                     TakeVector(prefix + "attn_k_norm.weight", shape.head_dim, qk_norms));
    ASSIGN_OR_RETURN(layer.output,
                     reader_.TakeMatrix(prefix + "attn_output.weight", shape.dim, query_dim));
    ASSIGN_OR_RETURN(layer.output_bias,
                     TakeVector(prefix + "attn_output.bias", shape.dim, architecture_.output_bias));
    ASSIGN_OR_RETURN(layer.attention_post_norm,
                     TakeVector(prefix + "post_attention_norm.weight", shape.dim, post_norms));
    ASSIGN_OR_RETURN(layer.ffn_norm, reader_.TakeVector(prefix + "ffn_norm.weight", shape.dim));
    RETURN_IF_ERROR(ReadGateUp(prefix, layer));
    ASSIGN_OR_RETURN(layer.down,
                     reader_.TakeMatrix(prefix + "ffn_down.weight", shape.dim, shape.ffn_dim));
    ASSIGN_OR_RETURN(layer.ffn_post_norm,
                     TakeVector(prefix + "post_ffw_norm.weight", shape.dim, post_norms));
    return layer;
  }

  absl::Status ReadQueryKeyValue(const std::string& prefix, LlmLayerWeights& layer) {
    const LlmShape& shape = model_.shape_;
    const int64_t query_dim = int64_t{shape.heads} * shape.head_dim;
    const int64_t kv_dim = int64_t{shape.kv_heads} * shape.head_dim;
    const Presence bias = architecture_.qkv_bias;
    if (architecture_.fused_qkv) {
      const int64_t rows = query_dim + 2 * kv_dim;
      ASSIGN_OR_RETURN(MatrixView fused,
                       reader_.TakeMatrix(prefix + "attn_qkv.weight", rows, shape.dim));
      layer.query = ModelReader::TakeRows(fused, query_dim);
      layer.key = ModelReader::TakeRows(fused, kv_dim);
      layer.value = fused;
      ASSIGN_OR_RETURN(layer.query_bias, TakeVector(prefix + "attn_qkv.bias", rows, bias));
      if (layer.query_bias != nullptr) {
        layer.key_bias = layer.query_bias + query_dim;
        layer.value_bias = layer.key_bias + kv_dim;
      }
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(layer.query,
                     reader_.TakeMatrix(prefix + "attn_q.weight", query_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.key, reader_.TakeMatrix(prefix + "attn_k.weight", kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.value, reader_.TakeMatrix(prefix + "attn_v.weight", kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.query_bias, TakeVector(prefix + "attn_q.bias", query_dim, bias));
    ASSIGN_OR_RETURN(layer.key_bias, TakeVector(prefix + "attn_k.bias", kv_dim, bias));
    ASSIGN_OR_RETURN(layer.value_bias, TakeVector(prefix + "attn_v.bias", kv_dim, bias));
    return absl::OkStatus();
  }

  absl::Status ReadGateUp(const std::string& prefix, LlmLayerWeights& layer) {
    const int64_t rows = model_.shape_.ffn_dim;
    const int64_t cols = model_.shape_.dim;
    if (architecture_.fused_gate_up) {
      ASSIGN_OR_RETURN(layer.up, reader_.TakeMatrix(prefix + "ffn_up.weight", 2 * rows, cols));
      layer.gate = ModelReader::TakeRows(layer.up, rows);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(layer.gate, reader_.TakeMatrix(prefix + "ffn_gate.weight", rows, cols));
    ASSIGN_OR_RETURN(layer.up, reader_.TakeMatrix(prefix + "ffn_up.weight", rows, cols));
    return absl::OkStatus();
  }

  const GgufFile& file_;
  const Architecture& architecture_;
  GgufLanguageModel& model_;
  ModelReader reader_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(std::string name,
                                                                       const std::string& path) {
  ASSIGN_OR_RETURN(std::unique_ptr<const GgufFile> file, GgufFile::Open(path));
  return LoadLanguageModel(std::move(name), std::move(file));
}

absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(
    std::string name, std::unique_ptr<const GgufFile> file) {
  return Loader::LoadModel(std::move(name), std::move(file));
}

}  // namespace baton
