#pragma once

#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/model/tensor_type.h"
#include "tests/support/quantise.h"

namespace baton {

// Writes GGUF version 3 files for tests. Keys and tensors appear in the order they were added; the
// writer checks nothing, so that it can also write files that are wrong.
class GgufWriter {
 public:
  void AddString(std::string_view key, std::string_view value);
  void AddUint32(std::string_view key, uint32_t value);
  void AddUint64(std::string_view key, uint64_t value);
  void AddInt32(std::string_view key, int32_t value);
  void AddFloat(std::string_view key, float value);
  void AddDouble(std::string_view key, double value);
  void AddBool(std::string_view key, bool value);
  void AddStrings(std::string_view key, const std::vector<std::string>& values);
  void AddInts(std::string_view key, const std::vector<int32_t>& values);
  void AddFloats(std::string_view key, const std::vector<float>& values);
  // `count` keys with their values, as they lie in a file.
  void AddRawKeys(uint64_t count, std::string_view keys);

  // weights: [dims], innermost dimension first in `dims`; rounded to `type`.
  void AddTensor(std::string_view name, std::vector<int64_t> dims, TensorType type,
                 const std::vector<float>& weights);
  // `ggml_type` and `data` as they are.
  void AddRawTensor(std::string_view name, std::vector<int64_t> dims, uint32_t ggml_type,
                    std::string data);
  // The same with `data` over and over, `bytes` in all: in memory it is there once.
  void AddRepeatedTensor(std::string_view name, std::vector<int64_t> dims, uint32_t ggml_type,
                         std::string data, uint64_t bytes);
  // Of a tensor that was added.
  void RenameTensor(std::string_view name, std::string_view new_name);
  void RemoveTensor(std::string_view name);

  std::string Bytes() const;  // the whole file
  void Write(std::ostream& out) const;

 private:
  struct Tensor {
    std::string name;
    std::vector<int64_t> dims;
    uint32_t type;
    std::string data;
    uint64_t bytes;  // in the file
  };
  void AddKey(std::string_view key, uint32_t type);
  std::vector<Tensor>::iterator FindTensor(std::string_view name);

  uint64_t key_count_ = 0;
  std::string keys_;
  std::vector<Tensor> tensors_;
};

// A model of any supported architecture and shape with random weights, its tensors those that a
// published file of the architecture has, and a small SPM vocabulary: <unk>, <s>, </s>, 256 bytes,
// then letters, common pairs and words, padded with unused pieces.
struct RandomModelOptions {
  std::string_view architecture = "llama";
  int32_t dim = 64;
  int32_t ffn_dim = 96;
  int32_t layers = 2;
  int32_t heads = 4;
  int32_t kv_heads = 2;
  int32_t head_dim = 0;      // 0: dim / heads, and no key says so
  int32_t rope_dims = 0;     // 0: head_dim, likewise
  int32_t vocabulary = 320;  // at least kTestPieces
  int32_t context_tokens = 128;
  int32_t window = 0;                  // 0: no key
  TensorType type = TensorType::kF32;  // of the matrices; norms and biases stay F32
  bool tied_output = true;
  bool rope_factors = false;  // llama's rope_freqs; phi3's short and long ones
  // Not empty: with the control tokens <|user|>, <|assistant|> and <|end|>, from kTestChatToken on.
  std::string_view chat_template = "";
  bool biases = false;  // those that are optional: qwen2 always has its own
  // Of what mixed files keep more bits of (output, attn_v, ffn_down); absent: `type`.
  std::optional<TensorType> finer_type;
  // So many random rows, over and over: a large model in seconds. 0: every row is random.
  int64_t distinct_rows = 0;
  uint64_t seed = 1;
};
inline constexpr int32_t kTestChatToken = 297;
inline constexpr int32_t kTestPieces = 300;  // the tiny vocabulary without padding fits in

// The keys and the vocabulary, without tensors.
void AddRandomModelKeys(const RandomModelOptions& options, GgufWriter& writer);
void AddRandomModelTensors(const RandomModelOptions& options, GgufWriter& writer);
std::string RandomModelBytes(const RandomModelOptions& options);

// A file that is removed with this object.
class TempFile {
 public:
  explicit TempFile(std::string_view bytes, std::string_view suffix = ".gguf");
  ~TempFile();
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace baton
