#include "tests/support/encoder_file.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {

void AddRandomEncoderKeys(const RandomEncoderOptions& options, GgufWriter& writer) {
  writer.AddString("general.architecture", "bert");
  writer.AddUint32("bert.context_length", static_cast<uint32_t>(options.context_tokens));
  writer.AddUint32("bert.embedding_length", static_cast<uint32_t>(options.dim));
  writer.AddUint32("bert.block_count", static_cast<uint32_t>(options.layers));
  writer.AddUint32("bert.feed_forward_length", static_cast<uint32_t>(options.ffn_dim));
  writer.AddUint32("bert.attention.head_count", static_cast<uint32_t>(options.heads));
  writer.AddFloat("bert.attention.layer_norm_epsilon", 1e-12f);
  writer.AddBool("bert.attention.causal", false);
  if (options.pooling_key) writer.AddUint32("bert.pooling_type", options.pooling);
  if (options.token_types > 0) {
    writer.AddUint32("tokenizer.ggml.token_type_count", static_cast<uint32_t>(options.token_types));
  }

  const std::string mark = "\xE2\x96\x81";
  std::vector<std::string> tokens = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
  std::vector<int32_t> types(tokens.size(), 3);
  for (const char c : std::string("abcdefghijklmnopqrstuvwxyz0123456789")) {
    tokens.push_back(std::string(1, c));
    tokens.push_back(mark + c);
  }
  for (const char c : std::string(".,?!-:;'\"()")) tokens.push_back(mark + c);
  for (const char* word : {"the", "of", "is", "tower", "ferry", "number"}) {
    tokens.push_back(mark + word);
  }
  for (const char* piece : {"ing", "er", "th"}) tokens.emplace_back(piece);
  BATON_CHECK(tokens.size() <= kTestWordPieces && options.vocabulary >= kTestWordPieces);
  while (tokens.size() < static_cast<size_t>(options.vocabulary)) {
    tokens.push_back(StrCat("[unused", tokens.size(), "]"));
  }
  types.resize(tokens.size(), 1);
  writer.AddString("tokenizer.ggml.model", "bert");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddInts("tokenizer.ggml.token_type", types);
  writer.AddUint32("tokenizer.ggml.unknown_token_id", 1);
  writer.AddUint32("tokenizer.ggml.cls_token_id", 2);
  writer.AddUint32("tokenizer.ggml.seperator_token_id", 3);
}

void AddRandomEncoderTensors(const RandomEncoderOptions& options, GgufWriter& writer) {
  std::mt19937_64 random(options.seed);
  // Uniform in [-1, 1) from the generator's bits: std distributions differ between libraries.
  const auto uniform = [&random] {
    return static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-52 - 1);
  };
  const auto values = [&](int64_t count, float middle, float spread) {
    std::vector<float> all(static_cast<size_t>(count));
    std::generate(all.begin(), all.end(), [&] { return middle + spread * uniform(); });
    return all;
  };
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t cols, float spread) {
    // Rows that are not whole blocks stay F16, as in published quantised files.
    const TensorType type =
        cols % BlockWeights(options.type) == 0 ? options.type : TensorType::kF16;
    writer.AddTensor(name, {cols, rows}, type, values(rows * cols, 0, spread));
  };
  const auto linear = [&](const std::string& name, int64_t rows, int64_t cols) {
    // Outputs keep the size of the inputs, so that nothing grows with depth.
    matrix(name + ".weight", rows, cols, std::sqrt(3.0f / static_cast<float>(cols)));
    writer.AddTensor(name + ".bias", {rows}, TensorType::kF32, values(rows, 0, 0.2f));
  };
  const auto norm = [&](const std::string& name) {
    writer.AddTensor(name + ".weight", {options.dim}, TensorType::kF32,
                     values(options.dim, 1, 0.2f));
    writer.AddTensor(name + ".bias", {options.dim}, TensorType::kF32, values(options.dim, 0, 0.2f));
  };
  const int64_t dim = options.dim;
  matrix("token_embd.weight", options.vocabulary, dim, 1);
  writer.AddTensor("position_embd.weight", {dim, options.context_tokens}, TensorType::kF32,
                   values(dim * options.context_tokens, 0, 0.5f));
  if (options.token_types > 0) {
    writer.AddTensor("token_types.weight", {dim, options.token_types}, TensorType::kF32,
                     values(dim * options.token_types, 0, 0.5f));
  }
  norm("token_embd_norm");
  for (int32_t layer = 0; layer < options.layers; ++layer) {
    const std::string prefix = StrCat("blk.", layer, ".");
    linear(prefix + "attn_q", dim, dim);
    linear(prefix + "attn_k", dim, dim);
    linear(prefix + "attn_v", dim, dim);
    linear(prefix + "attn_output", dim, dim);
    norm(prefix + "attn_output_norm");
    linear(prefix + "ffn_up", options.ffn_dim, dim);
    linear(prefix + "ffn_down", dim, options.ffn_dim);
    norm(prefix + "layer_output_norm");
  }
  if (options.pooling == 4) {
    if (options.dense_head) linear("cls", options.score_head ? dim : 1, dim);
    if (options.score_head) linear("cls.output", 1, dim);
  }
}

std::string RandomEncoderBytes(const RandomEncoderOptions& options) {
  GgufWriter writer;
  AddRandomEncoderKeys(options, writer);
  AddRandomEncoderTensors(options, writer);
  return writer.Bytes();
}

}  // namespace baton
