// Any bytes as a GGUF file: refused with a status or read safely, down to every value and every
// weight, and through a tokenizer made from it.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "engine/model/gguf.h"
#include "engine/model/tokenizer.h"
#include "engine/model/weight_scan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton;
  const auto opened = GgufFile::FromMemory("fuzz", std::as_bytes(std::span(data, size)));
  if (!opened.ok()) {
    return 0;
  }
  const GgufFile& file = **opened;
  for (const char* key : {"general.architecture", "general.alignment", "tokenizer.ggml.tokens",
                          "tokenizer.ggml.scores", "tokenizer.ggml.token_type", "k"}) {
    (void)file.GetString(key).ok();
    (void)file.GetInt(key).ok();
    (void)file.GetFloat(key).ok();
    (void)file.GetBool(key).ok();
    (void)file.GetStrings(key).ok();
    (void)file.GetInts(key).ok();
    (void)file.GetFloats(key).ok();
  }
  for (const GgufTensor& tensor : file.tensors()) {
    const auto type = static_cast<TensorType>(tensor.type);
    int64_t weights = 1;
    for (const int64_t dim : tensor.dims) {
      weights *= dim;
    }
    if (type == TensorType::kF32 || type == TensorType::kF16 || type == TensorType::kQ8_0) {
      AllFinite(type, tensor.data.data(), weights);
    }
  }
  const auto tokenizer = MakeTokenizer(file);
  if (tokenizer.ok()) {
    for (const TokenId token : EncodePrompt(**tokenizer, "A text, 12 \xF0\x9F\x98\x80\xFF")) {
      if (token < 0 || token >= (*tokenizer)->vocabulary()) {
        std::abort();
      }
    }
  }
  return 0;
}
