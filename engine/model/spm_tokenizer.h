#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/tokenizer.h"

namespace baton {

// SentencePiece's BPE form, tokenizer.ggml.model = "llama": characters are merged by the best
// score of the merged piece, bytes without a piece become byte tokens.
absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeSpmTokenizer(const GgufFile& file);

}  // namespace baton
