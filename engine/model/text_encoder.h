#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/embedder.h"
#include "engine/model/matrix_view.h"
#include "engine/model/tokenizer.h"

namespace baton {

class GgufFile;

// What the last layer's vectors of a text are made one by, in GGUF's numbers.
enum class Pooling : int32_t {
  kMean = 1,  // of all tokens, [CLS] and [SEP] too
  kCls = 2,   // the first token's
  kRank = 4,  // none: a head makes one number of the first token's
};

// Shape and constants of a BERT encoder.
struct EncoderShape {
  std::string architecture;  // "bert"
  int32_t dim = 0;           // of the residual stream and of the embeddings
  int32_t ffn_dim = 0;
  int32_t layers = 0;
  int32_t heads = 0;  // divides dim
  int32_t head_dim = 0;
  int32_t vocabulary = 0;
  int32_t context_tokens = 0;  // [CLS] and [SEP] counted
  int32_t token_types = 0;     // that have embeddings; of a pair's second text it is the second
  float norm_epsilon = 1e-12f;
  Pooling pooling = Pooling::kMean;
  int64_t parameters = 0;  // counted from the tensors
};

// A product with a bias: y = x . w^T + bias.
struct LinearView {
  MatrixView w;
  const float* bias = nullptr;  // [w.rows], f32
};

struct LayerNormView {
  const float* weight = nullptr;  // [dim], f32
  const float* bias = nullptr;    // [dim], f32
};

struct EncoderLayerWeights {
  LinearView query;              // [dim, dim]
  LinearView key;                // [dim, dim]
  LinearView value;              // [dim, dim]
  LinearView output;             // [dim, dim]
  LayerNormView attention_norm;  // of the sum behind the attention
  LinearView up;                 // [ffn_dim, dim]
  LinearView down;               // [dim, ffn_dim]
  LayerNormView ffn_norm;        // of the sum behind the feed-forward network
};

struct EncoderWeights {
  MatrixView token_embedding;     // [vocabulary, dim]
  MatrixView position_embedding;  // [context_tokens, dim]
  MatrixView type_embedding;      // [token types, dim]; data null: none
  LayerNormView embedding_norm;
  std::vector<EncoderLayerWeights> layers;
  // Of kRank: score = score . tanh(dense . cls + bias) + bias. Biases may be null.
  LinearView dense;  // [dim, dim]; w.data null: the score is of cls itself
  LinearView score;  // [1, dim]
};

// What an encoder reads: [CLS], a text, [SEP]; of a pair then another text and [SEP].
struct EncoderInput {
  std::vector<TokenId> tokens;
  int32_t second = 0;      // where a pair's second text begins; 0: no pair
  bool truncated = false;  // the last text did not fit whole
};

// A loaded encoder of texts: bidirectional attention over one text, learned positions, norms behind
// the sums (Devlin et al., 2018); its embedding is the pooled last layer, of length one. Or of
// pairs, with a head that scores them (Nogueira and Cho, 2019). Immutable, shared by the engine and
// its executors, thread safe.
class TextEncoder : public Embedder {
 public:
  Kind kind() const final {
    return shape().pooling == Pooling::kRank ? Kind::kCrossEncoder : Kind::kSemantic;
  }
  int32_t dimension() const final { return shape().pooling == Pooling::kRank ? 1 : shape().dim; }
  virtual const std::string& path() const = 0;
  virtual const EncoderShape& shape() const = 0;
  virtual const EncoderWeights& weights() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual int64_t weight_bytes() const = 0;

  // What the encoder reads of a text. Of one that is longer than the context, its beginning, as
  // sentence-transformers does. At least two tokens.
  EncoderInput InputOf(std::string_view text) const;
  // The first text of pairs: its tokens, of which half of the context has room.
  struct First {
    std::vector<TokenId> tokens;
    bool truncated = false;
  };
  First FirstOf(std::string_view text) const;
  // What it reads of a pair: the first text whole, of the second what fits behind it. For kRank.
  EncoderInput PairOf(const First& first, std::string_view second) const;
};

// Maps a GGUF file and checks everything the executors will rely on, as LoadLanguageModel does and
// with the same errors.
absl::StatusOr<std::shared_ptr<const TextEncoder>> LoadTextEncoder(std::string name,
                                                                   const std::string& path);
// The same of a file that is already open.
absl::StatusOr<std::shared_ptr<const TextEncoder>> LoadTextEncoder(
    std::string name, std::unique_ptr<const GgufFile> file);

}  // namespace baton
