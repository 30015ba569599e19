#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/model/tokenizer.h"

namespace baton {

// WordPiece, tokenizer.ggml.model = "bert": each word of SplitBertWords is cut into the longest
// pieces from its left; a word that cannot be, or of more than 100 characters, is one unknown
// token. In a GGUF file a piece that begins a word starts with U+2581, one inside it with nothing.
// bos() is [CLS], separator() is [SEP]. A text comes back from its tokens only as far as its words.
absl::StatusOr<std::unique_ptr<const Tokenizer>> MakeWordPieceTokenizer(const GgufFile& file);

}  // namespace baton
