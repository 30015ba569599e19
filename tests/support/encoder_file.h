#pragma once

#include <cstdint>
#include <string>

#include "tests/support/gguf_writer.h"

namespace baton {

// A bert-architecture encoder of any shape with random weights, and a small WordPiece vocabulary:
// [PAD], [UNK], [CLS], [SEP], [MASK], then letters, digits, marks and words, padded with unused
// tokens.
struct RandomEncoderOptions {
  int32_t dim = 64;
  int32_t ffn_dim = 96;
  int32_t layers = 2;
  int32_t heads = 4;
  int32_t vocabulary = 160;  // at least kTestWordPieces
  int32_t context_tokens = 64;
  int32_t token_types = 2;  // 0: neither the key nor the tensor
  uint32_t pooling = 1;     // in GGUF's numbers: 1 mean, 2 cls, 4 rank
  bool pooling_key = true;  // false: the file does not say
  // Of rank: cls.* and cls.output.*. Without the latter cls is one row.
  bool dense_head = true;
  bool score_head = true;
  TensorType type = TensorType::kF32;  // of the matrices; the rest stays F32
  uint64_t seed = 1;
};
inline constexpr int32_t kTestWordPieces = 120;  // the vocabulary without padding fits in

// The keys and the vocabulary, without tensors.
void AddRandomEncoderKeys(const RandomEncoderOptions& options, GgufWriter& writer);
void AddRandomEncoderTensors(const RandomEncoderOptions& options, GgufWriter& writer);
std::string RandomEncoderBytes(const RandomEncoderOptions& options);

}  // namespace baton
