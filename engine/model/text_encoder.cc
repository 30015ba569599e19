#include "engine/model/text_encoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/gguf.h"
#include "engine/model/model_reader.h"

namespace baton {
namespace {

constexpr std::string_view kArchitecture = "bert";
constexpr char kTypesTensor[] = "token_types.weight";
constexpr char kDenseTensor[] = "cls.weight";
constexpr char kScoreTensor[] = "cls.output.weight";
// [CLS], [SEP] and [SEP] of a pair, and some of each text.
constexpr int64_t kMinPairTokens = 8;

// Above any published model of this architecture, and low enough that no product of them in the
// executors overflows 64 bits. The context also bounds the executors' workspace.
constexpr int64_t kMaxDim = 1 << 16;
constexpr int64_t kMaxFfnDim = 1 << 18;
constexpr int64_t kMaxLayers = 4096;
constexpr int64_t kMaxContextTokens = 1 << 16;
constexpr int64_t kMaxTokenTypes = 1 << 16;

class GgufTextEncoder final : public TextEncoder {
 public:
  const std::string& name() const override { return name_; }
  const std::string& path() const override { return file_->path(); }
  const EncoderShape& shape() const override { return shape_; }
  const EncoderWeights& weights() const override { return weights_; }
  const Tokenizer& tokenizer() const override { return *tokenizer_; }
  int64_t weight_bytes() const override { return weight_bytes_; }

 private:
  friend class EncoderLoader;
  std::string name_;
  std::unique_ptr<const GgufFile> file_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  EncoderShape shape_;
  EncoderWeights weights_;
  int64_t weight_bytes_ = 0;
};

// Fills an encoder from its file, checking each fact before anything relies on it.
class EncoderLoader {
 public:
  static absl::StatusOr<std::shared_ptr<const TextEncoder>> LoadEncoder(
      std::string name, std::unique_ptr<const GgufFile> file) {
    auto encoder = std::make_shared<GgufTextEncoder>();
    encoder->name_ = std::move(name);
    encoder->file_ = std::move(file);
    RETURN_IF_ERROR(EncoderLoader(*encoder->file_, *encoder).Load());
    return encoder;
  }

 private:
  EncoderLoader(const GgufFile& file, GgufTextEncoder& encoder)
      : file_(file), encoder_(encoder), reader_(file, std::string(kArchitecture)) {}

  absl::Status Load() {
    RETURN_IF_ERROR(CheckSupported());
    RETURN_IF_ERROR(ReadShape());
    RETURN_IF_ERROR(ReadPooling());
    RETURN_IF_ERROR(ReadTokenizer());
    RETURN_IF_ERROR(ReadWeights());
    RETURN_IF_ERROR(reader_.CheckNothingUnused());
    encoder_.weight_bytes_ = reader_.weight_bytes();
    encoder_.shape_.parameters = reader_.parameters();
    return absl::OkStatus();
  }

  absl::Status CheckSupported() {
    ASSIGN_OR_RETURN(const std::string_view architecture, file_.GetString("general.architecture"));
    if (architecture != kArchitecture) {
      return reader_.Unsupported(StrCat("key 'general.architecture' is '", Escaped(architecture),
                                        "', only '", kArchitecture,
                                        "' is supported for embedding"));
    }
    encoder_.shape_.architecture = std::string(architecture);
    ASSIGN_OR_RETURN(const bool causal, file_.GetBoolOr(reader_.Key("attention.causal"), false));
    if (causal) {
      return reader_.Unsupported(
          "key 'bert.attention.causal' is true, only attention in both directions is supported");
    }
    return absl::OkStatus();
  }

  absl::Status ReadShape() {
    EncoderShape& shape = encoder_.shape_;
    ASSIGN_OR_RETURN(shape.dim, reader_.ReadInt("embedding_length", std::nullopt, {1, kMaxDim}));
    ASSIGN_OR_RETURN(shape.ffn_dim,
                     reader_.ReadInt("feed_forward_length", std::nullopt, {1, kMaxFfnDim}));
    ASSIGN_OR_RETURN(shape.layers, reader_.ReadInt("block_count", std::nullopt, {1, kMaxLayers}));
    // [CLS] and [SEP] always fit.
    ASSIGN_OR_RETURN(shape.context_tokens,
                     reader_.ReadInt("context_length", std::nullopt, {2, kMaxContextTokens}));
    ASSIGN_OR_RETURN(shape.heads,
                     reader_.ReadInt("attention.head_count", std::nullopt, {1, shape.dim}));
    if (shape.dim % shape.heads != 0) {
      return reader_.Bad(StrCat("key 'bert.embedding_length' is ", shape.dim, ", which ",
                                shape.heads, " heads do not divide"));
    }
    shape.head_dim = shape.dim / shape.heads;
    ASSIGN_OR_RETURN(shape.norm_epsilon,
                     reader_.ReadPositive("attention.layer_norm_epsilon", std::nullopt));
    return absl::OkStatus();
  }

  // Files of rerankers leave the key out where their converter knows no pooling for them: then the
  // head says what they are.
  absl::Status ReadPooling() {
    const bool has_head =
        file_.FindTensor(kScoreTensor) != nullptr || file_.FindTensor(kDenseTensor) != nullptr;
    const std::string key = reader_.Key("pooling_type");
    ASSIGN_OR_RETURN(
        const int64_t pooling,
        has_head ? file_.GetIntOr(key, static_cast<int64_t>(Pooling::kRank)) : file_.GetInt(key));
    const auto is = [pooling](Pooling known) { return pooling == static_cast<int64_t>(known); };
    if (!is(Pooling::kMean) && !is(Pooling::kCls) && !is(Pooling::kRank)) {
      return reader_.Unsupported(StrCat("key 'bert.pooling_type' is ", pooling,
                                        ", only 1 (mean), 2 (cls) and 4 (rank) are supported"));
    }
    encoder_.shape_.pooling = static_cast<Pooling>(pooling);
    if (is(Pooling::kRank) && encoder_.shape_.context_tokens < kMinPairTokens) {
      return reader_.Bad(StrCat("key 'bert.context_length' is ", encoder_.shape_.context_tokens,
                                ", a pair needs ", kMinPairTokens));
    }
    return absl::OkStatus();
  }

  absl::Status ReadTokenizer() {
    ASSIGN_OR_RETURN(encoder_.tokenizer_, MakeTokenizer(file_));
    const Tokenizer& tokenizer = *encoder_.tokenizer_;
    if (!tokenizer.bos().has_value() || !tokenizer.separator().has_value()) {
      return reader_.Unsupported(
          "key 'tokenizer.ggml.model' names a tokenizer without [CLS] and [SEP], only 'bert' is "
          "supported for embedding");
    }
    encoder_.shape_.vocabulary = tokenizer.vocabulary();
    return absl::OkStatus();
  }

  absl::Status ReadWeights() {
    const EncoderShape& shape = encoder_.shape_;
    EncoderWeights& weights = encoder_.weights_;
    ASSIGN_OR_RETURN(weights.token_embedding,
                     reader_.TakeMatrix("token_embd.weight", shape.vocabulary, shape.dim));
    ASSIGN_OR_RETURN(weights.position_embedding,
                     reader_.TakeMatrix("position_embd.weight", shape.context_tokens, shape.dim));
    RETURN_IF_ERROR(ReadTokenTypes());
    ASSIGN_OR_RETURN(weights.embedding_norm, TakeNorm("token_embd_norm"));
    for (int32_t i = 0; i < shape.layers; ++i) {
      ASSIGN_OR_RETURN(EncoderLayerWeights layer, ReadLayer(i));
      weights.layers.push_back(layer);
    }
    return shape.pooling == Pooling::kRank ? ReadHead() : absl::OkStatus();
  }

  // Converters name a head of one matrix after either part.
  absl::Status ReadHead() {
    const int64_t dim = encoder_.shape_.dim;
    EncoderWeights& weights = encoder_.weights_;
    if (file_.FindTensor(kScoreTensor) == nullptr && file_.FindTensor(kDenseTensor) != nullptr) {
      ASSIGN_OR_RETURN(weights.score.w, reader_.TakeMatrix(kDenseTensor, 1, dim));
      ASSIGN_OR_RETURN(weights.score.bias, reader_.TakeOptionalVector("cls.bias", 1));
      return absl::OkStatus();
    }
    if (file_.FindTensor(kDenseTensor) != nullptr) {
      ASSIGN_OR_RETURN(weights.dense.w, reader_.TakeMatrix(kDenseTensor, dim, dim));
      ASSIGN_OR_RETURN(weights.dense.bias, reader_.TakeOptionalVector("cls.bias", dim));
    }
    ASSIGN_OR_RETURN(weights.score.w, reader_.TakeMatrix(kScoreTensor, 1, dim));
    ASSIGN_OR_RETURN(weights.score.bias, reader_.TakeOptionalVector("cls.output.bias", 1));
    return absl::OkStatus();
  }

  // A model of one type may leave it to the tokens: its embedding is then part of theirs.
  absl::Status ReadTokenTypes() {
    const GgufTensor* tensor = file_.FindTensor(kTypesTensor);
    const int64_t found = tensor == nullptr ? 1 : tensor->dims.back();
    ASSIGN_OR_RETURN(const int64_t types, file_.GetIntOr("tokenizer.ggml.token_type_count", found));
    if (types < 1 || types > kMaxTokenTypes) {
      return reader_.Bad(StrCat("key 'tokenizer.ggml.token_type_count' is ", types,
                                ", allowed are 1 to ", kMaxTokenTypes));
    }
    if (tensor != nullptr || types > 1) {
      ASSIGN_OR_RETURN(encoder_.weights_.type_embedding,
                       reader_.TakeMatrix(kTypesTensor, types, encoder_.shape_.dim));
      encoder_.shape_.token_types = static_cast<int32_t>(types);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<EncoderLayerWeights> ReadLayer(int32_t index) {
    const EncoderShape& shape = encoder_.shape_;
    const auto name = [index](std::string_view part) { return StrCat("blk.", index, ".", part); };
    EncoderLayerWeights layer;
    ASSIGN_OR_RETURN(layer.query, TakeLinear(name("attn_q"), shape.dim, shape.dim));
    ASSIGN_OR_RETURN(layer.key, TakeLinear(name("attn_k"), shape.dim, shape.dim));
    ASSIGN_OR_RETURN(layer.value, TakeLinear(name("attn_v"), shape.dim, shape.dim));
    ASSIGN_OR_RETURN(layer.output, TakeLinear(name("attn_output"), shape.dim, shape.dim));
    ASSIGN_OR_RETURN(layer.attention_norm, TakeNorm(name("attn_output_norm")));
    ASSIGN_OR_RETURN(layer.up, TakeLinear(name("ffn_up"), shape.ffn_dim, shape.dim));
    ASSIGN_OR_RETURN(layer.down, TakeLinear(name("ffn_down"), shape.dim, shape.ffn_dim));
    ASSIGN_OR_RETURN(layer.ffn_norm, TakeNorm(name("layer_output_norm")));
    return layer;
  }

  absl::StatusOr<LinearView> TakeLinear(const std::string& name, int64_t rows, int64_t cols) {
    LinearView linear;
    ASSIGN_OR_RETURN(linear.w, reader_.TakeMatrix(StrCat(name, ".weight"), rows, cols));
    ASSIGN_OR_RETURN(linear.bias, reader_.TakeVector(StrCat(name, ".bias"), rows));
    return linear;
  }

  absl::StatusOr<LayerNormView> TakeNorm(const std::string& name) {
    LayerNormView norm;
    ASSIGN_OR_RETURN(norm.weight, reader_.TakeVector(StrCat(name, ".weight"), encoder_.shape_.dim));
    ASSIGN_OR_RETURN(norm.bias, reader_.TakeVector(StrCat(name, ".bias"), encoder_.shape_.dim));
    return norm;
  }

  const GgufFile& file_;
  GgufTextEncoder& encoder_;
  ModelReader reader_;
};

}  // namespace

EncoderInput TextEncoder::InputOf(std::string_view text) const {
  const std::vector<TokenId> tokens = tokenizer().Encode(text);
  const auto kept = std::min(tokens.size(), static_cast<size_t>(shape().context_tokens) - 2);
  EncoderInput input;
  input.tokens.reserve(kept + 2);
  input.tokens.push_back(*tokenizer().bos());
  input.tokens.insert(input.tokens.end(), tokens.begin(),
                      tokens.begin() + static_cast<ptrdiff_t>(kept));
  input.tokens.push_back(*tokenizer().separator());
  input.truncated = kept < tokens.size();
  return input;
}

TextEncoder::First TextEncoder::FirstOf(std::string_view text) const {
  First first = {.tokens = tokenizer().Encode(text)};
  const auto room = static_cast<size_t>(shape().context_tokens - 3) / 2;
  first.truncated = first.tokens.size() > room;
  if (first.truncated) first.tokens.resize(room);
  return first;
}

EncoderInput TextEncoder::PairOf(const First& first, std::string_view second) const {
  const std::vector<TokenId> tokens = tokenizer().Encode(second);
  const size_t room = static_cast<size_t>(shape().context_tokens) - 3 - first.tokens.size();
  const size_t kept = std::min(tokens.size(), room);
  EncoderInput input;
  input.tokens.reserve(first.tokens.size() + kept + 3);
  input.tokens.push_back(*tokenizer().bos());
  input.tokens.insert(input.tokens.end(), first.tokens.begin(), first.tokens.end());
  input.tokens.push_back(*tokenizer().separator());
  input.second = static_cast<int32_t>(input.tokens.size());
  input.tokens.insert(input.tokens.end(), tokens.begin(),
                      tokens.begin() + static_cast<ptrdiff_t>(kept));
  input.tokens.push_back(*tokenizer().separator());
  input.truncated = kept < tokens.size();
  return input;
}

absl::StatusOr<std::shared_ptr<const TextEncoder>> LoadTextEncoder(std::string name,
                                                                   const std::string& path) {
  ASSIGN_OR_RETURN(auto file, GgufFile::Open(path));
  return LoadTextEncoder(std::move(name), std::move(file));
}

absl::StatusOr<std::shared_ptr<const TextEncoder>> LoadTextEncoder(
    std::string name, std::unique_ptr<const GgufFile> file) {
  return EncoderLoader::LoadEncoder(std::move(name), std::move(file));
}

}  // namespace baton
