#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/tokenizer.h"

namespace baton {

// Byte-level BPE, tokenizer.ggml.model = "gpt2": text is split into words by the model's regular
// expressions, then each word's bytes are merged in the order of tokenizer.ggml.merges.
absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeBpeTokenizer(const GgufFile& file);

}  // namespace baton
