#include "engine/model/language_model.h"

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

// Above any published model of this architecture, and low enough that no product of them in the
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
    RETURN_IF_ERROR(ReadRope());
    ASSIGN_OR_RETURN(model_.tokenizer_, MakeTokenizer(file_));
    RETURN_IF_ERROR(CheckVocabulary());
    RETURN_IF_ERROR(ReadWeights());
    RETURN_IF_ERROR(CheckNothingUnused());
    return absl::OkStatus();
  }

  static absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadModel(std::string name,
                                                                        const std::string& path) {
    auto model = std::make_shared<GgufLanguageModel>();
    model->name_ = std::move(name);
    ASSIGN_OR_RETURN(model->file_, GgufFile::Open(path));
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
  static std::string Key(std::string_view suffix) { return StrCat("llama.", suffix); }

  absl::Status CheckSupported() {
    ASSIGN_OR_RETURN(const std::string_view architecture, file_.GetString("general.architecture"));
    if (architecture != "llama") {
      return Unsupported(StrCat("key 'general.architecture' is '", Escaped(architecture),
                                "', only 'llama' is supported"));
    }
    model_.shape_.architecture = std::string(architecture);
    ASSIGN_OR_RETURN(const int64_t shards, file_.GetIntOr("split.count", 1));
    if (shards > 1) {
      return Unsupported(
          StrCat("the model is split over ", shards, " files, only whole files are supported"));
    }
    ASSIGN_OR_RETURN(const int64_t experts, file_.GetIntOr(Key("expert_count"), 0));
    if (experts > 0) {
      return Unsupported("mixtures of experts (key 'llama.expert_count') are not supported");
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
      return Bad(StrCat("key 'llama.attention.head_count_kv' is ", shape.kv_heads,
                        ", which does not divide the ", shape.heads, " heads"));
    }
    if (!file_.Type(Key("attention.key_length")).has_value() && shape.dim % shape.heads != 0) {
      return Bad(StrCat("key 'llama.embedding_length' is ", shape.dim, ", which ", shape.heads,
                        " heads do not divide"));
    }
    ASSIGN_OR_RETURN(shape.head_dim, ReadInt("attention.key_length", shape.dim / shape.heads,
                                             {1, kMaxDim / shape.heads}));
    ASSIGN_OR_RETURN(const int32_t value_dim,
                     ReadInt("attention.value_length", shape.head_dim, {1, kMaxDim}));
    if (value_dim != shape.head_dim) {
      return Unsupported(StrCat("keys of ", shape.head_dim, " and values of ", value_dim,
                                " dimensions per head: different sizes are not supported"));
    }
    ASSIGN_OR_RETURN(const int32_t window,
                     ReadInt("attention.sliding_window", 0, {0, kMaxContextTokens}));
    if (window > 0 && window < shape.context_tokens) {
      return Unsupported(StrCat("sliding-window attention (key 'llama.attention.",
                                "sliding_window' is ", window, ") is not supported"));
    }
    ASSIGN_OR_RETURN(shape.rms_epsilon,
                     ReadPositive("attention.layer_norm_rms_epsilon", std::nullopt));
    return absl::OkStatus();
  }

  absl::Status ReadRope() {
    LlmShape& shape = model_.shape_;
    ASSIGN_OR_RETURN(shape.rope_dims,
                     ReadInt("rope.dimension_count", shape.head_dim, {2, shape.head_dim}));
    if (shape.rope_dims % 2 != 0) {
      return Bad(StrCat("key 'llama.rope.dimension_count' is ", shape.rope_dims,
                        ", an even number is needed"));
    }
    ASSIGN_OR_RETURN(shape.rope_base, ReadPositive("rope.freq_base", 10000.0));
    ASSIGN_OR_RETURN(const std::string_view scaling,
                     file_.GetStringOr(Key("rope.scaling.type"), "linear"));
    if (scaling == "none") {
      return absl::OkStatus();
    }
    if (scaling != "linear") {
      return Unsupported(StrCat("key 'llama.rope.scaling.type' is '", Escaped(scaling),
                                "', only 'none' and 'linear' are supported"));
    }
    // Before GGUF had scaling types, the factor stood under another key.
    ASSIGN_OR_RETURN(const double old_factor, file_.GetFloatOr(Key("rope.scale_linear"), 1.0));
    ASSIGN_OR_RETURN(const float factor, ReadPositive("rope.scaling.factor", old_factor));
    shape.rope_scale = 1.0f / factor;
    return absl::OkStatus();
  }

  absl::Status CheckVocabulary() {
    LlmShape& shape = model_.shape_;
    shape.vocabulary = model_.tokenizer_->vocabulary();
    ASSIGN_OR_RETURN(const int64_t stated, file_.GetIntOr(Key("vocab_size"), shape.vocabulary));
    if (stated != shape.vocabulary) {
      return Bad(StrCat("key 'llama.vocab_size' is ", stated, ", but the tokenizer has ",
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

  absl::Status ReadWeights() {
    const LlmShape& shape = model_.shape_;
    LlmWeights& weights = model_.weights_;
    ASSIGN_OR_RETURN(weights.token_embedding,
                     TakeMatrix("token_embd.weight", shape.vocabulary, shape.dim));
    ASSIGN_OR_RETURN(weights.output_norm, TakeVector("output_norm.weight", shape.dim));
    weights.output = weights.token_embedding;
    if (file_.FindTensor("output.weight") != nullptr) {
      ASSIGN_OR_RETURN(weights.output, TakeMatrix("output.weight", shape.vocabulary, shape.dim));
    }
    if (file_.FindTensor("rope_freqs.weight") != nullptr) {
      ASSIGN_OR_RETURN(weights.rope_factors, TakeVector("rope_freqs.weight", shape.rope_dims / 2));
      for (int32_t i = 0; i < shape.rope_dims / 2; ++i) {
        if (!(weights.rope_factors[i] > 0)) {
          return Bad(StrCat("tensor 'rope_freqs.weight': element ", i, " is ",
                            weights.rope_factors[i], ", positive numbers are needed"));
        }
      }
    }
    for (int32_t i = 0; i < shape.layers; ++i) {
      ASSIGN_OR_RETURN(LlmLayerWeights layer, ReadLayer(i));
      weights.layers.push_back(layer);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<LlmLayerWeights> ReadLayer(int32_t index) {
    const LlmShape& shape = model_.shape_;
    const int64_t heads_dim = int64_t{shape.heads} * shape.head_dim;
    const int64_t kv_dim = int64_t{shape.kv_heads} * shape.head_dim;
    const auto name = [index](std::string_view part) {
      return StrCat("blk.", index, ".", part, ".weight");
    };
    LlmLayerWeights layer;
    ASSIGN_OR_RETURN(layer.attention_norm, TakeVector(name("attn_norm"), shape.dim));
    ASSIGN_OR_RETURN(layer.query, TakeMatrix(name("attn_q"), heads_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.key, TakeMatrix(name("attn_k"), kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.value, TakeMatrix(name("attn_v"), kv_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.output, TakeMatrix(name("attn_output"), shape.dim, heads_dim));
    ASSIGN_OR_RETURN(layer.ffn_norm, TakeVector(name("ffn_norm"), shape.dim));
    ASSIGN_OR_RETURN(layer.gate, TakeMatrix(name("ffn_gate"), shape.ffn_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.up, TakeMatrix(name("ffn_up"), shape.ffn_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.down, TakeMatrix(name("ffn_down"), shape.dim, shape.ffn_dim));
    return layer;
  }

  // A tensor that this architecture does not use, such as a bias, would change the results.
  absl::Status CheckNothingUnused() const {
    for (const GgufTensor& tensor : file_.tensors()) {
      // Old converters also stored the rotation tables, which follow from the keys.
      if (!used_.contains(tensor.name) && !tensor.name.ends_with(".rot_embd.weight") &&
          !tensor.name.ends_with(".attn_rot_embd.weight")) {
        return Unsupported(
            StrCat("tensor '", Escaped(tensor.name), "' is not part of a plain llama model"));
      }
    }
    return absl::OkStatus();
  }

  const GgufFile& file_;
  GgufLanguageModel& model_;
  std::set<std::string_view> used_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(std::string name,
                                                                       const std::string& path) {
  return Loader::LoadModel(std::move(name), path);
}

}  // namespace baton
