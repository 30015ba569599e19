#include "engine/peer/model_fingerprint.h"

#include <openssl/evp.h>

#include <algorithm>
#include <span>
#include <string_view>

#include "engine/base/check.h"
#include "engine/model/tensor_type.h"

namespace baton {
namespace {

class Digest {
 public:
  Digest() : context_(EVP_MD_CTX_new()) {
    BATON_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) == 1);
  }
  ~Digest() { EVP_MD_CTX_free(context_); }
  Digest(const Digest&) = delete;
  Digest& operator=(const Digest&) = delete;

  void Bytes(std::span<const std::byte> bytes) {
    BATON_CHECK(EVP_DigestUpdate(context_, bytes.data(), bytes.size()) == 1);
  }
  template <class T>
  void Number(T value) {
    Bytes(std::as_bytes(std::span(&value, 1)));
  }
  // As a whole where it is small.
  void Samples(std::span<const std::byte> bytes) {
    constexpr size_t kSamples = 16;
    constexpr size_t kSampleBytes = 256;
    Number(static_cast<uint64_t>(bytes.size()));
    if (bytes.size() <= kSamples * kSampleBytes) return Bytes(bytes);
    const size_t step = (bytes.size() - kSampleBytes) / (kSamples - 1);
    for (size_t i = 0; i < kSamples; ++i) Bytes(bytes.subspan(i * step, kSampleBytes));
  }
  void Matrix(const MatrixView& matrix) {
    Number(static_cast<uint32_t>(matrix.type));
    Number(matrix.rows);
    Number(matrix.cols);
    if (matrix.data == nullptr) return;
    Samples({matrix.data, static_cast<size_t>(matrix.rows * RowBytes(matrix.type, matrix.cols))});
  }
  void Vector(const float* values, int64_t count) {
    Number(values == nullptr ? int64_t{0} : count);
    if (values != nullptr) Samples(std::as_bytes(std::span(values, static_cast<size_t>(count))));
  }
  ModelFingerprint Finish() {
    ModelFingerprint out = {};
    unsigned length = 0;
    BATON_CHECK(EVP_DigestFinal_ex(context_, out.data(), &length) == 1 && length == out.size());
    return out;
  }

 private:
  EVP_MD_CTX* const context_;
};

}  // namespace

ModelFingerprint FingerprintOf(const LanguageModel& model) {
  const LlmShape& shape = model.shape();
  Digest digest;
  digest.Bytes(std::as_bytes(std::span(std::string_view(shape.architecture))));
  for (const int32_t value : {shape.dim, shape.ffn_dim, shape.layers, shape.heads, shape.kv_heads,
                              shape.head_dim, shape.vocabulary, shape.rope_dims}) {
    digest.Number(value);
  }
  for (const int32_t window : shape.windows) digest.Number(window);
  for (const float value : {shape.rms_epsilon, shape.embedding_scale, shape.attention_scale,
                            shape.score_cap, shape.logit_cap}) {
    digest.Number(value);
  }
  const LlmWeights& weights = model.weights();
  digest.Matrix(weights.token_embedding);
  for (const LlmLayerWeights& layer : weights.layers) {
    digest.Vector(layer.attention_norm, shape.dim);
    digest.Vector(layer.ffn_norm, shape.dim);
    for (const MatrixView* matrix : {&layer.query, &layer.key, &layer.value, &layer.output,
                                     &layer.gate, &layer.up, &layer.down}) {
      digest.Matrix(*matrix);
    }
    digest.Vector(layer.query_bias, int64_t{shape.heads} * shape.head_dim);
    digest.Vector(layer.key_bias, int64_t{shape.kv_heads} * shape.head_dim);
    digest.Vector(layer.value_bias, int64_t{shape.kv_heads} * shape.head_dim);
  }
  digest.Vector(weights.output_norm, shape.dim);
  digest.Matrix(weights.output);
  return digest.Finish();
}

}  // namespace baton
