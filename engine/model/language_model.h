#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/architectures.h"
#include "engine/model/chat/chat_templates.h"
#include "engine/model/matrix_view.h"
#include "engine/model/rope.h"
#include "engine/model/tokenizer.h"

namespace baton {

class GgufFile;

// Shape and constants of a decoder.
struct LlmShape {
  std::string architecture;  // as in its file: "llama", "qwen2", ...
  int32_t dim = 0;           // of the residual stream
  int32_t ffn_dim = 0;
  int32_t layers = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;  // divides heads
  int32_t head_dim = 0;
  int32_t vocabulary = 0;
  int32_t context_tokens = 0;
  float rms_epsilon = 1e-5f;
  float embedding_scale = 1;  // embeddings are multiplied by it

  // Attention: a score is q . k * attention_scale, then score_cap * tanh(score / score_cap).
  float attention_scale = 0;
  float score_cap = 0;           // 0: none
  std::vector<int32_t> windows;  // [layers], positions attended to, its own included; 0: all
  int32_t rope_dims = 0;         // of each head's dimensions, the first rope_dims rotate; even
  RopePairs rope_pairs = RopePairs::kAdjacent;
  RopeParameters rope;
  std::optional<RopeParameters> window_rope;  // of the layers with a window; none: as the others

  Activation activation = Activation::kSilu;
  float logit_cap = 0;     // logits become logit_cap * tanh(logit / logit_cap); 0: none
  int64_t parameters = 0;  // counted from the tensors
};

// Pointers are to f32; null: the model has none, as of every norm but the first two and every bias.
struct LlmLayerWeights {
  const float* attention_norm = nullptr;  // [dim]
  const float* ffn_norm = nullptr;        // [dim]

  MatrixView query;                   // [heads * head_dim, dim]
  MatrixView key;                     // [kv_heads * head_dim, dim]
  MatrixView value;                   // [kv_heads * head_dim, dim]
  const float* query_bias = nullptr;  // [heads * head_dim]
  const float* key_bias = nullptr;    // [kv_heads * head_dim]
  const float* value_bias = nullptr;  // [kv_heads * head_dim]
  const float* query_norm = nullptr;  // [head_dim], each head's own, before it rotates
  const float* key_norm = nullptr;    // [head_dim]

  MatrixView output;                           // [dim, heads * head_dim]
  const float* output_bias = nullptr;          // [dim]
  const float* attention_post_norm = nullptr;  // [dim], before the residual stream

  MatrixView gate;                       // [ffn_dim, dim]
  MatrixView up;                         // [ffn_dim, dim]
  MatrixView down;                       // [dim, ffn_dim]
  const float* ffn_post_norm = nullptr;  // [dim], before the residual stream
};

struct LlmWeights {
  MatrixView token_embedding;  // [vocabulary, dim]
  std::vector<LlmLayerWeights> layers;
  const float* output_norm = nullptr;  // [dim], f32
  MatrixView output;                   // [vocabulary, dim]; the embedding itself where tied
};

// A loaded language model: immutable, shared by the engine and its executors, thread safe.
class LanguageModel {
 public:
  virtual ~LanguageModel() = default;
  virtual const std::string& name() const = 0;
  virtual const std::string& path() const = 0;
  virtual const LlmShape& shape() const = 0;
  virtual const LlmWeights& weights() const = 0;
  virtual const Tokenizer& tokenizer() const = 0;
  virtual const ChatTemplates& chat_templates() const = 0;  // empty: the file brings none
  virtual int64_t weight_bytes() const = 0;
};

// Maps a GGUF file and checks everything the engine will rely on: header, metadata, vocabulary,
// every tensor's presence, type, shape and extent. NOT_FOUND: no such file. INVALID_ARGUMENT: the
// file breaks the format or contradicts itself. UNIMPLEMENTED: well-formed, but an architecture,
// tensor type or tokenizer that is not supported. Messages name the file and the key or tensor.
absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(std::string name,
                                                                       const std::string& path);
// The same of an open file.
absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(
    std::string name, std::unique_ptr<const GgufFile> file);

}  // namespace baton
