#include "engine/model/language_model.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"
#include "engine/model/weight_scan.h"

namespace baton {
namespace {

// Above any published model of these architectures, and low enough that no product of them in the
// executors overflows 64 bits.
constexpr int64_t kMaxDim = 1 << 20;
constexpr int64_t kMaxFfnDim = 1 << 22;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxContextTokens = 1 << 24;

class GgufLanguageModel final : public LanguageModel {
 public:
  const std::string& name() const override { return name_; }
  const std::string& path() const override { return file_->path(); }
  const LlmShape& shape() const override { return shape_; }
  const LlmWeights& weights() const override { return weights_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  int64_t weight_bytes() const override { return weight_bytes_; }

 private:
  friend class Loader;
  std::string name_;
  std::unique_ptr<const GgufFile> file_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  LlmShape shape_;
  LlmWeights weights_;
  int64_t weight_bytes_ = 0;
};

struct Bounds {
  int64_t min;
  int64_t max;
};

// Fills a model from its file, checking each fact before anything relies on it.
class Loader {
 public:
  Loader(const GgufFile& file, GgufLanguageModel& model) : file_(file), model_(model) {}

  absl::Status Load() {
    RETURN_IF_ERROR(CheckSupported());
    RETURN_IF_ERROR(ReadShape());
    RETURN_IF_ERROR(ReadAttention());
    RETURN_IF_ERROR(ReadWindows());
    RETURN_IF_ERROR(ReadRope());
    ASSIGN_OR_RETURN(model_.tokenizer_, MakeTokenizer(file_));
    RETURN_IF_ERROR(CheckVocabulary());
    RETURN_IF_ERROR(ReadWeights());
    RETURN_IF_ERROR(CheckNothingUnused());
    return absl::OkStatus();
  }

  static absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadModel(
      std::string name, std::unique_ptr<const GgufFile> file) {
    auto model = std::make_shared<GgufLanguageModel>();
    model->name_ = std::move(name);
    model->file_ = std::move(file);
    RETURN_IF_ERROR(Loader(*model->file_, *model).Load());
    return model;
  }

 private:
  absl::Status Bad(std::string_view message) const {
    return file_.Error(absl::StatusCode::kInvalidArgument, message);
  }
  absl::Status Unsupported(std::string_view message) const {
    return file_.Error(absl::StatusCode::kUnimplemented, message);
  }
  std::string Key(std::string_view suffix) const {
    return StrCat(architecture_->name, ".", suffix);
  }

  absl::Status CheckSupported() {
    ASSIGN_OR_RETURN(const std::string_view name, file_.GetString("general.architecture"));
    architecture_ = FindArchitecture(name);
    if (architecture_ == nullptr) {
      return Unsupported(StrCat("key 'general.architecture' is '", Escaped(name), "', only ",
                                SupportedArchitectures(), " are supported"));
    }
    model_.shape_.architecture = std::string(name);
    ASSIGN_OR_RETURN(const int64_t shards, file_.GetIntOr("split.count", 1));
    if (shards > 1) {
      return Unsupported(
          StrCat("the model is split over ", shards, " files, only whole files are supported"));
    }
    ASSIGN_OR_RETURN(const int64_t experts, file_.GetIntOr(Key("expert_count"), 0));
    if (experts > 0) {
      return Unsupported(
          StrCat("mixtures of experts (key '", Key("expert_count"), "') are not supported"));
    }
    return absl::OkStatus();
  }

  absl::StatusOr<int32_t> ReadInt(std::string_view suffix, std::optional<int64_t> absent,
                                  Bounds bounds) const {
    const std::string key = Key(suffix);
    if (file_.Type(key) == GgufValueType::kArray) {
      return Unsupported(StrCat("key '", key, "' differs by layer, which is not supported"));
    }
    ASSIGN_OR_RETURN(const int64_t value,
                     absent.has_value() ? file_.GetIntOr(key, *absent) : file_.GetInt(key));
    if (value < bounds.min || value > bounds.max) {
      return Bad(
          StrCat("key '", key, "' is ", value, ", allowed are ", bounds.min, " to ", bounds.max));
    }
    return static_cast<int32_t>(value);
  }

  // A float that must be finite and above zero.
  absl::StatusOr<float> ReadPositive(std::string_view suffix, std::optional<double> absent) const {
    const std::string key = Key(suffix);
    ASSIGN_OR_RETURN(const double value,
                     absent.has_value() ? file_.GetFloatOr(key, *absent) : file_.GetFloat(key));
    const auto narrow = static_cast<float>(value);
    if (!std::isfinite(narrow) || !(narrow > 0)) {
      return Bad(StrCat("key '", key, "' is ", value, ", a positive number is needed"));
    }
    return narrow;
  }

  // A cap on scores or logits; 0: none.
  absl::StatusOr<float> ReadCap(std::string_view suffix, double absent) const {
    ASSIGN_OR_RETURN(const double value, file_.GetFloatOr(Key(suffix), absent));
    if (value == 0) {
      return 0.0f;
    }
    return ReadPositive(suffix, absent);
  }

  absl::Status ReadShape() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(shape.dim, ReadInt("embedding_length", std::nullopt, {1, kMaxDim}));
    ASSIGN_OR_RETURN(shape.ffn_dim, ReadInt("feed_forward_length", std::nullopt, {1, kMaxFfnDim}));
    ASSIGN_OR_RETURN(shape.layers, ReadInt("block_count", std::nullopt, {1, kMaxLayers}));
    ASSIGN_OR_RETURN(shape.context_tokens,
                     ReadInt("context_length", std::nullopt, {1, kMaxContextTokens}));
    ASSIGN_OR_RETURN(shape.heads, ReadInt("attention.head_count", std::nullopt, {1, shape.dim}));
    ASSIGN_OR_RETURN(shape.kv_heads,
                     ReadInt("attention.head_count_kv", shape.heads, {1, shape.heads}));
    if (shape.heads % shape.kv_heads != 0) {
      return Bad(StrCat("key '", Key("attention.head_count_kv"), "' is ", shape.kv_heads,
                        ", which does not divide the ", shape.heads, " heads"));
    }
    if (!file_.Type(Key("attention.key_length")).has_value() && shape.dim % shape.heads != 0) {
      return Bad(StrCat("key '", Key("embedding_length"), "' is ", shape.dim, ", which ",
                        shape.heads, " heads do not divide"));
    }
    ASSIGN_OR_RETURN(shape.head_dim, ReadInt("attention.key_length", shape.dim / shape.heads,
                                             {1, kMaxDim / shape.heads}));
    ASSIGN_OR_RETURN(const int32_t value_dim,
                     ReadInt("attention.value_length", shape.head_dim, {1, kMaxDim}));
    if (value_dim != shape.head_dim) {
      return Unsupported(StrCat("keys of ", shape.head_dim, " and values of ", value_dim,
                                " dimensions per head: different sizes are not supported"));
    }
    ASSIGN_OR_RETURN(shape.rms_epsilon,
                     ReadPositive("attention.layer_norm_rms_epsilon", std::nullopt));
    return absl::OkStatus();
  }

  absl::Status ReadAttention() {
    LlmShape& shape = model_.shape_;
    shape.rope_pairs = architecture_->rope_pairs;
    shape.activation = architecture_->activation;
    if (architecture_->scaled_embedding) {
      shape.embedding_scale = std::sqrt(static_cast<float>(shape.dim));
    }
    const int32_t scaled_by = shape.layers == architecture_->width_scaled_layers
                                  ? shape.dim / shape.heads
                                  : shape.head_dim;
    ASSIGN_OR_RETURN(
        shape.attention_scale,
        ReadPositive("attention.scale", 1.0f / std::sqrt(static_cast<float>(scaled_by))));
    ASSIGN_OR_RETURN(shape.score_cap, ReadCap("attn_logit_softcapping", architecture_->score_cap));
    ASSIGN_OR_RETURN(shape.logit_cap, ReadCap("final_logit_softcapping", architecture_->logit_cap));
    return absl::OkStatus();
  }

  absl::Status ReadWindows() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(const int32_t window, ReadInt("attention.sliding_window",
                                                   architecture_->window, {0, kMaxContextTokens}));
    ASSIGN_OR_RETURN(const int32_t period, ReadInt("attention.sliding_window_pattern",
                                                   architecture_->window_period, {0, kMaxLayers}));
    for (int32_t layer = 0; layer < shape.layers; ++layer) {
      const bool windowed = period == 0 || layer % period < period - 1;
      shape.windows.push_back(windowed ? window : 0);
    }
    return absl::OkStatus();
  }

  absl::Status ReadRope() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(shape.rope_dims,
                     ReadInt("rope.dimension_count", shape.head_dim, {2, shape.head_dim}));
    if (shape.rope_dims % 2 != 0) {
      return Bad(StrCat("key '", Key("rope.dimension_count"), "' is ", shape.rope_dims,
                        ", an even number is needed"));
    }
    ASSIGN_OR_RETURN(shape.rope.base, ReadPositive("rope.freq_base", 10000.0));
    ASSIGN_OR_RETURN(shape.rope.original_context_tokens,
                     ReadInt("rope.scaling.original_context_length", shape.context_tokens,
                             {1, kMaxContextTokens}));
    ASSIGN_OR_RETURN(shape.rope.magnitude, ReadPositive("rope.scaling.attn_factor", 1.0));
    if (architecture_->window_rope_base > 0) {
      shape.window_rope.emplace();
      ASSIGN_OR_RETURN(shape.window_rope->base,
                       ReadPositive("rope.freq_base_swa", architecture_->window_rope_base));
    }
    return ReadRopeScaling(shape.rope);
  }

  absl::Status ReadRopeScaling(RopeParameters& rope) {
    const bool long_factors = architecture_->rope_factors == RopeFactors::kShortAndLong;
    ASSIGN_OR_RETURN(const std::string_view type,
                     file_.GetStringOr(Key("rope.scaling.type"), "linear"));
    if (type == "none" || (type == "longrope" && long_factors)) {
      return absl::OkStatus();
    }
    if (type != "linear" && type != "yarn") {
      return Unsupported(StrCat(
          "key '", Key("rope.scaling.type"), "' is '", Escaped(type), "', only 'none', 'linear'",
          long_factors ? ", 'yarn' and 'longrope'" : " and 'yarn'", " are supported"));
    }
    // Before GGUF had scaling types, the factor stood under another key.
    ASSIGN_OR_RETURN(const double old_factor, file_.GetFloatOr(Key("rope.scale_linear"), 1.0));
    ASSIGN_OR_RETURN(const float factor, ReadPositive("rope.scaling.factor", old_factor));
    rope.scale = 1.0f / factor;
    return type == "yarn" ? ReadYarn(factor, rope) : absl::OkStatus();
  }

  absl::Status ReadYarn(float factor, RopeParameters& rope) {
    if (!(rope.base > 1)) {
      return Bad(StrCat("key '", Key("rope.freq_base"), "' is ", rope.base,
                        ", yarn needs a number above 1"));
    }
    ASSIGN_OR_RETURN(rope.yarn_mix, ReadPositive("rope.scaling.yarn_ext_factor", 1.0));
    ASSIGN_OR_RETURN(rope.yarn_beta_fast,
                     ReadPositive("rope.scaling.yarn_beta_fast", rope.yarn_beta_fast));
    ASSIGN_OR_RETURN(rope.yarn_beta_slow,
                     ReadPositive("rope.scaling.yarn_beta_slow", rope.yarn_beta_slow));
    // The paper's remedy for attention that flattens with length: 0.1 ln(s) + 1.
    rope.magnitude *= 1 + 0.1f * std::log(std::max(1.0f, factor));
    return absl::OkStatus();
  }

  absl::Status CheckVocabulary() {
    LlmShape& shape = model_.shape_;
    shape.vocabulary = model_.tokenizer_->vocabulary();
    ASSIGN_OR_RETURN(const int64_t stated, file_.GetIntOr(Key("vocab_size"), shape.vocabulary));
    if (stated != shape.vocabulary) {
      return Bad(StrCat("key '", Key("vocab_size"), "' is ", stated, ", but the tokenizer has ",
                        shape.vocabulary, " tokens"));
    }
    return absl::OkStatus();
  }

  // Checks a tensor's shape, type and values, and counts it. dims: outermost first.
  absl::StatusOr<MatrixView> Take(const std::string& name, const std::vector<int64_t>& dims) {
    const GgufTensor* tensor = file_.FindTensor(name);
    if (tensor == nullptr) {
      return Bad(StrCat("tensor '", name, "' is missing"));
    }
    const std::vector<int64_t> found(tensor->dims.rbegin(), tensor->dims.rend());
    if (found != dims) {
      const auto shown = [](const std::vector<int64_t>& sizes) {
        std::string text;
        for (const int64_t size : sizes) {
          text += StrCat(text.empty() ? "" : ", ", size);
        }
        return text;
      };
      return Bad(StrCat("tensor '", name, "' is of shape [", shown(found), "], wanted [",
                        shown(dims), "]"));
    }
    const std::optional<TensorType> type = TensorTypeOf(tensor->type);
    if (!type) {
      std::string known;
      for (const TensorType each : TensorTypes()) {
        known += StrCat(known.empty() ? "" : ", ", Name(each));
      }
      return Unsupported(StrCat("tensor '", name, "' is of type ", GgmlTypeName(tensor->type),
                                ", only these are supported: ", known));
    }
    MatrixView view{.type = *type, .data = tensor->data.data(), .rows = 1, .cols = dims.back()};
    if (dims.size() == 2) {
      view.rows = dims[0];
    }
    if (!AllFinite(*type, view.data, view.rows * view.cols)) {
      return Bad(StrCat("tensor '", name, "' holds a NaN or an infinity"));
    }
    used_.insert(tensor->name);
    model_.weight_bytes_ += static_cast<int64_t>(tensor->data.size());
    model_.shape_.parameters += view.rows * view.cols;
    return view;
  }

  absl::StatusOr<MatrixView> TakeMatrix(const std::string& name, int64_t rows, int64_t cols) {
    return Take(name, {rows, cols});
  }

  absl::StatusOr<const float*> TakeVector(const std::string& name, int64_t size) {
    ASSIGN_OR_RETURN(const MatrixView view, Take(name, {size}));
    if (view.type != TensorType::kF32) {
      return Unsupported(StrCat("tensor '", name, "' is of type ", Name(view.type),
                                ", only F32 is supported here"));
    }
    return reinterpret_cast<const float*>(view.data);  // aligned: see GgufFile
  }

  // Null: the file need not have it, and does not.
  absl::StatusOr<const float*> TakeVector(const std::string& name, int64_t size,
                                          Presence presence) {
    if (presence == Presence::kAbsent ||
        (presence == Presence::kOptional && file_.FindTensor(name) == nullptr)) {
      return nullptr;
    }
    return TakeVector(name, size);
  }

  // The first `rows` of `view`, which goes on with those behind them.
  static MatrixView TakeRows(MatrixView& view, int64_t rows) {
    MatrixView first = view;
    first.rows = rows;
    view.data += rows * RowBytes(view.type, view.cols);
    view.rows -= rows;
    return first;
  }

  absl::Status ReadWeights() {
    LlmShape& shape = model_.shape_;
    LlmWeights& weights = model_.weights_;
    ASSIGN_OR_RETURN(weights.token_embedding,
                     TakeMatrix("token_embd.weight", shape.vocabulary, shape.dim));
    ASSIGN_OR_RETURN(weights.output_norm, TakeVector("output_norm.weight", shape.dim));
    weights.output = weights.token_embedding;
    if (file_.FindTensor("output.weight") != nullptr) {
      ASSIGN_OR_RETURN(weights.output, TakeMatrix("output.weight", shape.vocabulary, shape.dim));
    }
    ASSIGN_OR_RETURN(shape.rope.factors, ReadRopeFactors());
    for (const double frequency : RopeFrequencies(shape.rope, shape.rope_dims)) {
      if (!std::isfinite(frequency)) {
        return Bad(StrCat("keys '", Key("rope.*"), "' give a frequency of ", frequency));
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
    switch (architecture_->rope_factors) {
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
          return Bad(StrCat("tensor 'rope_factors_", short_ones == nullptr ? "short" : "long",
                            ".weight' is missing"));
        }
        return shape.context_tokens > shape.rope.original_context_tokens ? long_ones : short_ones;
      }
    }
    return nullptr;
  }

  absl::StatusOr<const float*> TakeRopeFactors(const std::string& name) {
    const int32_t pairs = model_.shape_.rope_dims / 2;
    ASSIGN_OR_RETURN(const float* const factors, TakeVector(name, pairs, Presence::kOptional));
    for (int32_t i = 0; factors != nullptr && i < pairs; ++i) {
      if (!(factors[i] > 0)) {
        return Bad(StrCat("tensor '", name, "': element ", i, " is ", factors[i],
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
    const Presence qk_norms = of(architecture_->qk_norms);
    const Presence post_norms = of(architecture_->post_norms);
    LlmLayerWeights layer;
    ASSIGN_OR_RETURN(layer.attention_norm, TakeVector(prefix + "attn_norm.weight", shape.dim));
    RETURN_IF_ERROR(ReadQueryKeyValue(prefix, layer));
    ASSIGN_OR_RETURN(layer.query_norm,
                     TakeVector(prefix + "attn_q_norm.weight", shape.head_dim, qk_norms));
    ASSIGN_OR_RETURN(layer.key_norm,
                     TakeVector(prefix + "attn_k_norm.weight", shape.head_dim, qk_norms));
    ASSIGN_OR_RETURN(layer.output, TakeMatrix(prefix + "attn_output.weight", shape.dim, query_dim));
    ASSIGN_OR_RETURN(layer.output_bias, TakeVector(prefix + "attn_output.bias", shape.dim,
                                                   architecture_->output_bias));
    ASSIGN_OR_RETURN(layer.attention_post_norm,
                     TakeVector(prefix + "post_attention_norm.weight", shape.dim, post_norms));
    ASSIGN_OR_RETURN(layer.ffn_norm, TakeVector(prefix + "ffn_norm.weight", shape.dim));
    RETURN_IF_ERROR(ReadGateUp(prefix, layer));
    ASSIGN_OR_RETURN(layer.down, TakeMatrix(prefix + "ffn_down.weight", shape.dim, shape.ffn_dim));
    ASSIGN_OR_RETURN(layer.ffn_post_norm,
                     TakeVector(prefix + "post_ffw_norm.weight", shape.dim, post_norms));
    return layer;
  }

  absl::Status ReadQueryKeyValue(const std::string& prefix, LlmLayerWeights& layer) {
    const LlmShape& shape = model_.shape_;
    const int64_t query_dim = int64_t{shape.heads} * shape.head_dim;
    const int64_t kv_dim = int64_t{shape.kv_heads} * shape.head_dim;
    const Presence bias = architecture_->qkv_bias;
    if (architecture_->fused_qkv) {
      const int64_t rows = query_dim + 2 * kv_dim;
      ASSIGN_OR_RETURN(MatrixView fused, TakeMatrix(prefix + "attn_qkv.weight", rows, shape.dim));
      layer.query = TakeRows(fused, query_dim);
      layer.key = TakeRows(fused, kv_dim);
      layer.value = fused;
      ASSIGN_OR_RETURN(layer.query_bias, TakeVector(prefix + "attn_qkv.bias", rows, bias));
      if (layer.query_bias != nullptr) {
        layer.key_bias = layer.query_bias + query_dim;
        layer.value_bias = layer.key_bias + kv_dim;
      }
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(layer.query, TakeMatrix(prefix + "attn_q.weight", query_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.key, TakeMatrix(prefix + "attn_k.weight", kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.value, TakeMatrix(prefix + "attn_v.weight", kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.query_bias, TakeVector(prefix + "attn_q.bias", query_dim, bias));
    ASSIGN_OR_RETURN(layer.key_bias, TakeVector(prefix + "attn_k.bias", kv_dim, bias));
    ASSIGN_OR_RETURN(layer.value_bias, TakeVector(prefix + "attn_v.bias", kv_dim, bias));
    return absl::OkStatus();
  }

  absl::Status ReadGateUp(const std::string& prefix, LlmLayerWeights& layer) {
    const int64_t rows = model_.shape_.ffn_dim;
    const int64_t cols = model_.shape_.dim;
    if (architecture_->fused_gate_up) {
      ASSIGN_OR_RETURN(layer.up, TakeMatrix(prefix + "ffn_up.weight", 2 * rows, cols));
      layer.gate = TakeRows(layer.up, rows);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(layer.gate, TakeMatrix(prefix + "ffn_gate.weight", rows, cols));
    ASSIGN_OR_RETURN(layer.up, TakeMatrix(prefix + "ffn_up.weight", rows, cols));
    return absl::OkStatus();
  }

  // A tensor that this architecture does not use, such as a bias, would change the results.
  absl::Status CheckNothingUnused() const {
    for (const GgufTensor& tensor : file_.tensors()) {
      // Old converters also stored the rotation tables, which follow from the keys.
      if (!used_.contains(tensor.name) && !tensor.name.ends_with(".rot_embd.weight") &&
          !tensor.name.ends_with(".attn_rot_embd.weight")) {
        return Unsupported(StrCat("tensor '", Escaped(tensor.name), "' is not part of a plain ",
                                  architecture_->name, " model"));
      }
    }
    return absl::OkStatus();
  }

  const GgufFile& file_;
  GgufLanguageModel& model_;
  const Architecture* architecture_ = nullptr;  // of CheckSupported
  std::set<std::string_view> used_;
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
