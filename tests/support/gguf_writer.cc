#include "tests/support/gguf_writer.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr uint64_t kAlignmentBytes = 32;

enum : uint32_t {
  kUint32 = 4,
  kInt32 = 5,
  kFloat32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kUint64 = 10,
  kFloat64 = 12,
};

template <class T>
void Put(std::string& out, T value) {
  const auto bytes = std::bit_cast<std::array<char, sizeof(T)>>(value);
  out.append(bytes.data(), bytes.size());
}

void PutString(std::string& out, std::string_view value) {
  Put<uint64_t>(out, value.size());
  out.append(value);
}

uint64_t Aligned(uint64_t bytes) {
  return (bytes + kAlignmentBytes - 1) / kAlignmentBytes * kAlignmentBytes;
}

}  // namespace

void GgufWriter::AddKey(std::string_view key, uint32_t type) {
  ++key_count_;
  PutString(keys_, key);
  Put(keys_, type);
}
void GgufWriter::AddString(std::string_view key, std::string_view value) {
  AddKey(key, kString);
  PutString(keys_, value);
}
void GgufWriter::AddUint32(std::string_view key, uint32_t value) {
  AddKey(key, kUint32);
  Put(keys_, value);
}
void GgufWriter::AddUint64(std::string_view key, uint64_t value) {
  AddKey(key, kUint64);
  Put(keys_, value);
}
void GgufWriter::AddInt32(std::string_view key, int32_t value) {
  AddKey(key, kInt32);
  Put(keys_, value);
}
void GgufWriter::AddFloat(std::string_view key, float value) {
  AddKey(key, kFloat32);
  Put(keys_, value);
}
void GgufWriter::AddDouble(std::string_view key, double value) {
  AddKey(key, kFloat64);
  Put(keys_, value);
}
void GgufWriter::AddBool(std::string_view key, bool value) {
  AddKey(key, kBool);
  Put<uint8_t>(keys_, value ? 1 : 0);
}
void GgufWriter::AddStrings(std::string_view key, const std::vector<std::string>& values) {
  AddKey(key, kArray);
  Put(keys_, uint32_t{kString});
  Put<uint64_t>(keys_, values.size());
  for (const std::string& value : values) {
    PutString(keys_, value);
  }
}
void GgufWriter::AddInts(std::string_view key, const std::vector<int32_t>& values) {
  AddKey(key, kArray);
  Put(keys_, uint32_t{kInt32});
  Put<uint64_t>(keys_, values.size());
  for (const int32_t value : values) {
    Put(keys_, value);
  }
}
void GgufWriter::AddFloats(std::string_view key, const std::vector<float>& values) {
  AddKey(key, kArray);
  Put(keys_, uint32_t{kFloat32});
  Put<uint64_t>(keys_, values.size());
  for (const float value : values) {
    Put(keys_, value);
  }
}

void GgufWriter::AddRawKeys(uint64_t count, std::string_view keys) {
  key_count_ += count;
  keys_ += keys;
}

void GgufWriter::AddTensor(std::string_view name, std::vector<int64_t> dims, TensorType type,
                           const std::vector<float>& weights) {
  AddRawTensor(name, std::move(dims), static_cast<uint32_t>(type), EncodeWeights(type, weights));
}

void GgufWriter::AddRawTensor(std::string_view name, std::vector<int64_t> dims, uint32_t ggml_type,
                              std::string data) {
  const uint64_t bytes = data.size();
  AddRepeatedTensor(name, std::move(dims), ggml_type, std::move(data), bytes);
}

void GgufWriter::AddRepeatedTensor(std::string_view name, std::vector<int64_t> dims,
                                   uint32_t ggml_type, std::string data, uint64_t bytes) {
  BATON_CHECK(bytes == 0 || !data.empty());
  tensors_.push_back({std::string(name), std::move(dims), ggml_type, std::move(data), bytes});
}

std::vector<GgufWriter::Tensor>::iterator GgufWriter::FindTensor(std::string_view name) {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const Tensor& tensor) { return tensor.name == name; });
  BATON_CHECK(found != tensors_.end());
  return found;
}

void GgufWriter::RenameTensor(std::string_view name, std::string_view new_name) {
  FindTensor(name)->name = new_name;
}

void GgufWriter::RemoveTensor(std::string_view name) { tensors_.erase(FindTensor(name)); }

std::string GgufWriter::Bytes() const {
  std::ostringstream out;
  Write(out);
  return std::move(out).str();
}

void GgufWriter::Write(std::ostream& out) const {
  std::string head = "GGUF";
  Put<uint32_t>(head, 3);
  Put<uint64_t>(head, tensors_.size());
  Put(head, key_count_);
  head += keys_;
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    PutString(head, tensor.name);
    Put(head, static_cast<uint32_t>(tensor.dims.size()));
    for (const int64_t size : tensor.dims) {
      Put(head, size);
    }
    Put(head, tensor.type);
    Put(head, offset);
    offset += Aligned(tensor.bytes);
  }
  const std::string zeros(kAlignmentBytes, '\0');
  const auto pad = [&](uint64_t bytes) {
    out.write(zeros.data(), static_cast<std::streamsize>(Aligned(bytes) - bytes));
  };
  out << head;
  uint64_t unpadded = head.size();  // the last tensor is not padded
  for (const Tensor& tensor : tensors_) {
    pad(unpadded);
    for (uint64_t left = tensor.bytes; left > 0;) {
      const uint64_t piece = std::min<uint64_t>(left, tensor.data.size());
      out.write(tensor.data.data(), static_cast<std::streamsize>(piece));
      left -= piece;
    }
    unpadded = tensor.bytes;
  }
}

void AddRandomModelKeys(const RandomModelOptions& options, GgufWriter& writer) {
  const auto key = [&](std::string_view name) { return StrCat(options.architecture, ".", name); };
  const auto add = [&](std::string_view name, int32_t value) {
    writer.AddUint32(key(name), static_cast<uint32_t>(value));
  };
  writer.AddString("general.architecture", options.architecture);
  add("context_length", options.context_tokens);
  add("embedding_length", options.dim);
  add("block_count", options.layers);
  add("feed_forward_length", options.ffn_dim);
  add("attention.head_count", options.heads);
  add("attention.head_count_kv", options.kv_heads);
  writer.AddFloat(key("attention.layer_norm_rms_epsilon"), 1e-5f);
  if (options.head_dim > 0) {
    add("attention.key_length", options.head_dim);
    add("attention.value_length", options.head_dim);
  }
  if (options.rope_dims > 0) add("rope.dimension_count", options.rope_dims);
  if (options.window > 0) add("attention.sliding_window", options.window);

  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<int32_t> types = {2, 3, 3};
  for (int byte = 0; byte < 256; ++byte) {
    char piece[8];
    std::snprintf(piece, sizeof(piece), "<0x%02X>", static_cast<unsigned>(byte) & 0xff);
    tokens.push_back(piece);
    types.push_back(6);
  }
  const std::string space = "\xE2\x96\x81";
  tokens.push_back(space);
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    tokens.emplace_back(1, letter);
  }
  for (const char* piece : {"th", "he", "in", "er", "an", "the"}) {
    tokens.emplace_back(piece);
  }
  for (const char* word : {"t", "a", "th", "the", "an"}) {
    tokens.push_back(space + word);
  }
  BATON_CHECK(tokens.size() <= kTestChatToken && options.vocabulary >= kTestPieces);
  types.resize(tokens.size(), 1);
  if (!options.chat_template.empty()) {
    BATON_CHECK(tokens.size() == kTestChatToken);
    for (const char* token : {"<|user|>", "<|assistant|>", "<|end|>"}) {
      tokens.emplace_back(token);
      types.push_back(3);
    }
    writer.AddString("tokenizer.chat_template", options.chat_template);
  }
  while (tokens.size() < static_cast<size_t>(options.vocabulary)) {
    tokens.push_back(StrCat("pad", tokens.size()));
    types.push_back(5);
  }
  std::vector<float> scores(tokens.size(), 0.0f);
  for (size_t i = 259; i < tokens.size(); ++i) {
    // Longer pieces merge first, as in trained vocabularies.
    scores[i] = static_cast<float>(tokens[i].size()) - static_cast<float>(i) / 1000;
  }
  writer.AddString("tokenizer.ggml.model", "llama");
  writer.AddStrings("tokenizer.ggml.tokens", tokens);
  writer.AddFloats("tokenizer.ggml.scores", scores);
  writer.AddInts("tokenizer.ggml.token_type", types);
  writer.AddUint32("tokenizer.ggml.bos_token_id", 1);
  writer.AddUint32("tokenizer.ggml.eos_token_id", 2);
  writer.AddUint32("tokenizer.ggml.unknown_token_id", 0);
}

void AddRandomModelTensors(const RandomModelOptions& options, GgufWriter& writer) {
  std::mt19937_64 random(options.seed);
  // Uniform in [-1, 1) from the generator's bits: std distributions differ between libraries.
  const auto uniform = [&random] {
    return static_cast<float>(static_cast<double>(random() >> 11) * 0x1p-52 - 1);
  };
  const auto matrix = [&](const std::string& name, int64_t rows, int64_t cols) {
    // Outputs keep the size of the inputs, so that nothing grows with depth.
    const float scale = std::sqrt(3.0f / static_cast<float>(cols));
    const int64_t distinct = options.distinct_rows > 0 ? options.distinct_rows : rows;
    std::vector<float> weights(static_cast<size_t>(distinct * cols));
    std::generate(weights.begin(), weights.end(), [&] { return scale * uniform(); });
    const bool finer = name.find("attn_v") != name.npos || name.find("ffn_down") != name.npos ||
                       name == "output.weight";
    const TensorType wanted = finer ? options.finer_type.value_or(options.type) : options.type;
    // Rows that are not whole blocks stay F16, as in published quantised files.
    const TensorType type = cols % BlockWeights(wanted) == 0 ? wanted : TensorType::kF16;
    const std::string some = EncodeWeights(type, weights);
    writer.AddRepeatedTensor(name, {cols, rows}, static_cast<uint32_t>(type), some,
                             static_cast<uint64_t>(RowBytes(type, cols) * rows));
  };
  const auto vector = [&](const std::string& name, int64_t size, float center, float spread) {
    std::vector<float> weights(static_cast<size_t>(size));
    std::generate(weights.begin(), weights.end(), [&] { return center + spread * uniform(); });
    writer.AddTensor(name, {size}, TensorType::kF32, weights);
  };
  const auto norm = [&](const std::string& name, int64_t size) { vector(name, size, 1, 0.2f); };
  const auto bias = [&](const std::string& name, int64_t size) { vector(name, size, 0, 0.5f); };
  const auto is = [&](std::string_view name) { return options.architecture == name; };
  const int64_t dim = options.dim;
  const int64_t head_dim = options.head_dim > 0 ? options.head_dim : dim / options.heads;
  const int64_t query_dim = options.heads * head_dim;
  const int64_t kv_dim = options.kv_heads * head_dim;
  const int64_t pairs = (options.rope_dims > 0 ? options.rope_dims : head_dim) / 2;
  matrix("token_embd.weight", options.vocabulary, dim);
  for (int32_t layer = 0; layer < options.layers; ++layer) {
    const std::string prefix = StrCat("blk.", layer, ".");
    norm(prefix + "attn_norm.weight", dim);
    if (is("phi3")) {
      matrix(prefix + "attn_qkv.weight", query_dim + 2 * kv_dim, dim);
      if (options.biases) bias(prefix + "attn_qkv.bias", query_dim + 2 * kv_dim);
    } else {
      matrix(prefix + "attn_q.weight", query_dim, dim);
      matrix(prefix + "attn_k.weight", kv_dim, dim);
      matrix(prefix + "attn_v.weight", kv_dim, dim);
      if (is("qwen2") || options.biases) {
        bias(prefix + "attn_q.bias", query_dim);
        bias(prefix + "attn_k.bias", kv_dim);
        bias(prefix + "attn_v.bias", kv_dim);
      }
    }
    if (is("qwen3") || is("gemma3")) {
      norm(prefix + "attn_q_norm.weight", head_dim);
      norm(prefix + "attn_k_norm.weight", head_dim);
    }
    matrix(prefix + "attn_output.weight", dim, query_dim);
    if ((is("llama") || is("mistral")) && options.biases) bias(prefix + "attn_output.bias", dim);
    if (is("gemma2") || is("gemma3")) norm(prefix + "post_attention_norm.weight", dim);
    norm(prefix + "ffn_norm.weight", dim);
    if (is("phi3")) {
      matrix(prefix + "ffn_up.weight", 2 * options.ffn_dim, dim);
    } else {
      matrix(prefix + "ffn_gate.weight", options.ffn_dim, dim);
      matrix(prefix + "ffn_up.weight", options.ffn_dim, dim);
    }
    matrix(prefix + "ffn_down.weight", dim, options.ffn_dim);
    if (is("gemma2") || is("gemma3")) norm(prefix + "post_ffw_norm.weight", dim);
  }
  norm("output_norm.weight", dim);
  if (!options.tied_output) {
    matrix("output.weight", options.vocabulary, dim);
  }
  if (options.rope_factors && is("phi3")) {
    vector("rope_factors_short.weight", pairs, 1.5f, 0.5f);
    vector("rope_factors_long.weight", pairs, 4.5f, 3.5f);
  } else if (options.rope_factors) {
    vector("rope_freqs.weight", pairs, 4.5f, 3.5f);
  }
}

std::string RandomModelBytes(const RandomModelOptions& options) {
  GgufWriter writer;
  AddRandomModelKeys(options, writer);
  AddRandomModelTensors(options, writer);
  return writer.Bytes();
}

TempFile::TempFile(std::string_view bytes, std::string_view suffix) {
  path_ = (std::filesystem::temp_directory_path() / StrCat("baton-test-XXXXXX", suffix)).string();
  const int fd = mkstemps(path_.data(), static_cast<int>(suffix.size()));
  BATON_CHECK(fd >= 0);
  close(fd);
  std::ofstream(path_, std::ios::binary) << bytes;
}

TempFile::~TempFile() { std::filesystem::remove(path_); }

}  // namespace baton
