#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/rag/sentences.h"

namespace baton {

using Chunk = TextRange;

struct ChunkOptions {
  int32_t passage_chars_max = 600;      // Unicode characters; an invalid byte counts as one
  int32_t passage_overlap_chars = 100;  // less than half of passage_chars_max
};

// INVALID_ARGUMENT names the field, the limit and the value.
absl::Status ValidateChunkOptions(const ChunkOptions& options);

// Cuts a document into passages of whole sentences. Every byte that is not white space is in at
// least one passage; passages are in order, not empty, trimmed of white space, at most
// passage_chars_max long and never split a character. A paragraph that fits is preferably kept
// whole, and a heading stays with what follows. Where a paragraph is torn, the next passage repeats
// the sentences before the tear, up to passage_overlap_chars. A sentence longer than a passage is
// cut at white space, failing that between characters. Linear in the text's length; any bytes are
// accepted. `options` must be valid.
std::vector<Chunk> SplitPassages(std::string_view text, const ChunkOptions& options);

}  // namespace baton
