#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/rag/sentences.h"
#include "engine/request/rag_request.h"

namespace baton {

// How a passage is stored as a point: its id, and its payload under the keys document_id, title,
// text, passage, passages, begin and end, beside the document's metadata.

// The key of a passage's text, which has a text index where passages are found by their words.
inline constexpr char kPassageTextField[] = "text";

// Stable across versions and machines: stored data depends on it.
PointId PassageId(std::string_view document_id, int32_t passage);

// INVALID_ARGUMENT where a document's metadata has more than 64 keys or uses one of Baton's own.
absl::Status ValidateMetadata(const Payload& metadata);

// Which passage of how many.
struct PassageNumber {
  int32_t passage = 0;   // from 0
  int32_t passages = 0;  // of the whole document
};

// The payload of the passage at `range` of the document's text. The document's metadata must be
// valid.
Payload MakePassagePayload(const Document& document, TextRange range, PassageNumber number);

// INVALID_ARGUMENT where a key is missing or of another type: the point was not stored by Ingest.
absl::StatusOr<Passage> PassageFromPayload(PointId id, float score, const Payload& payload);

// Passages that one document may be stored as.
inline constexpr int32_t kDocumentPassagesMax = 10'000;

// How many passages the document was stored as, from the payload of any of them: 1 to
// kDocumentPassagesMax. INVALID_ARGUMENT as PassageFromPayload; whatever a client may have
// upserted, an OK answer means that the payload has a document_id.
absl::StatusOr<int32_t> DocumentPassages(const Payload& payload);

}  // namespace baton
