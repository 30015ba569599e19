#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/tensor_type.h"
#include "engine/model/tokenizer.h"

namespace baton {

// Shape and constants of a llama-architecture decoder.
struct LlmShape {
  std::string architecture;  // "llama"
  int32_t dim = 0;           // of the residual stream
  int32_t ffn_dim = 0;
  int32_t layers = 0;
  int32_t heads = 0;
  int32_t kv_heads = 0;  // divides heads
  int32_t head_dim = 0;
  int32_t vocabulary = 0;
  int32_t context_tokens = 0;
  int32_t rope_dims = 0;    // of each head's dimensions, the first rope_dims rotate; even
  float rope_base = 10000;  // rotation of pair i: base^(-2i / rope_dims)
  float rope_scale = 1;     // positions are multiplied by it (linear scaling: 1 / factor)
  float rms_epsilon = 1e-5f;
  int64_t parameters = 0;  // counted from the tensors
};

// A matrix as the file holds it: `rows` rows of `cols` weights in blocks of `type`. Memory belongs
// to the LanguageModel's mapped file.
struct MatrixView {
  TensorType type = TensorType::kF32;
  const std::byte* data = nullptr;  // [rows, cols], row-major, each row RowBytes(type, cols)
  int64_t rows = 0;                 // outputs
  int64_t cols = 0;                 // inputs
};

struct LlmLayerWeights {
  const float* attention_norm = nullptr;  // [dim], f32
  MatrixView query;                       // [heads * head_dim, dim]; RoPE pairs are adjacent
  MatrixView key;                         // [kv_heads * head_dim, dim]
  MatrixView value;                       // [kv_heads * head_dim, dim]
  MatrixView output;                      // [dim, heads * head_dim]
  const float* ffn_norm = nullptr;        // [dim], f32
  MatrixView gate;                        // [ffn_dim, dim]
  MatrixView up;                          // [ffn_dim, dim]
  MatrixView down;                        // [dim, ffn_dim]
};

struct LlmWeights {
  MatrixView token_embedding;  // [vocabulary, dim]
  std::vector<LlmLayerWeights> layers;
  const float* output_norm = nullptr;   // [dim], f32
  MatrixView output;                    // [vocabulary, dim]; the embedding itself where tied
  const float* rope_factors = nullptr;  // [rope_dims / 2], f32, divides the frequencies; null: none
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
  virtual int64_t weight_bytes() const = 0;
};

// Maps a GGUF file and checks everything the engine will rely on: header, metadata, vocabulary,
// every tensor's presence, type, shape and extent. NOT_FOUND: no such file. INVALID_ARGUMENT: the
// file breaks the format or contradicts itself. UNIMPLEMENTED: well-formed, but an architecture,
// tensor type or tokenizer that is not supported. Messages name the file and the key or tensor.
absl::StatusOr<std::shared_ptr<const LanguageModel>> LoadLanguageModel(std::string name,
                                                                       const std::string& path);

}  // namespace baton
