#include "engine/rag/passage.h"

#include <algorithm>
#include <array>
#include <string>
#include <variant>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kMetadataKeysMax = 64;
constexpr char kDocumentId[] = "document_id";
constexpr char kTitle[] = "title";
constexpr char kPassage[] = "passage";
constexpr char kPassages[] = "passages";
constexpr char kBegin[] = "begin";
constexpr char kEnd[] = "end";
constexpr std::array<std::string_view, 7> kOwnKeys = {
    kDocumentId, kTitle, kPassageTextField, kPassage, kPassages, kBegin, kEnd};

template <class T>
absl::StatusOr<T> GetValue(const Payload& payload, const char* key) {
  const auto it = payload.find(key);
  if (it == payload.end()) {
    return absl::InvalidArgumentError(
        StrCat("payload has no key ", key, ": the point is not a passage"));
  }
  const T* value = std::get_if<T>(&it->second);
  if (value == nullptr) {
    return absl::InvalidArgumentError(
        StrCat("payload key ", key, " has the wrong type: the point is not a passage"));
  }
  return *value;
}

// What an integer may be, both ends included.
struct Bounds {
  int64_t min = 0;
  int64_t max = INT64_MAX;
};
absl::StatusOr<int64_t> GetInteger(const Payload& payload, const char* key, Bounds bounds) {
  ASSIGN_OR_RETURN(const int64_t value, GetValue<int64_t>(payload, key));
  if (value < bounds.min || value > bounds.max) {
    return absl::InvalidArgumentError(StrCat("payload key ", key, " must be ", bounds.min, " to ",
                                             bounds.max, ", got ", value,
                                             ": the point is not a passage"));
  }
  return value;
}

}  // namespace

PointId PassageId(std::string_view document_id, int32_t passage) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : document_id) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3;
  }
  // splitmix64's finaliser, so that neighbouring numbers give unrelated ids.
  hash += (static_cast<uint64_t>(static_cast<uint32_t>(passage)) + 1) * 0x9e3779b97f4a7c15;
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111eb;
  return hash ^ (hash >> 31);
}

absl::Status ValidateMetadata(const Payload& metadata) {
  if (metadata.size() > kMetadataKeysMax) {
    return absl::InvalidArgumentError(
        StrCat("metadata must have at most ", kMetadataKeysMax, " keys, got ", metadata.size()));
  }
  for (const auto& [key, value] : metadata) {
    if (std::find(kOwnKeys.begin(), kOwnKeys.end(), key) != kOwnKeys.end()) {
      return absl::InvalidArgumentError(
          StrCat("metadata key ", key, " is one of Baton's own; rename it"));
    }
  }
  return absl::OkStatus();
}

Payload MakePassagePayload(const Document& document, TextRange range, PassageNumber number) {
  Payload payload = document.metadata;
  payload[kDocumentId] = document.id;
  payload[kTitle] = document.title;
  payload[kPassageTextField] = std::string(Slice(document.text, range));
  payload[kPassage] = int64_t{number.passage};
  payload[kPassages] = int64_t{number.passages};
  payload[kBegin] = range.begin;
  payload[kEnd] = range.end;
  return payload;
}

absl::StatusOr<Passage> PassageFromPayload(PointId id, float score, const Payload& payload) {
  Passage passage;
  passage.id = id;
  passage.score = score;
  ASSIGN_OR_RETURN(passage.document_id, GetValue<std::string>(payload, kDocumentId));
  ASSIGN_OR_RETURN(passage.title, GetValue<std::string>(payload, kTitle));
  ASSIGN_OR_RETURN(passage.text, GetValue<std::string>(payload, kPassageTextField));
  ASSIGN_OR_RETURN(const int64_t number,
                   GetInteger(payload, kPassage, {.max = kDocumentPassagesMax - 1}));
  passage.passage = static_cast<int32_t>(number);
  ASSIGN_OR_RETURN(passage.begin, GetInteger(payload, kBegin, {}));
  ASSIGN_OR_RETURN(passage.end, GetInteger(payload, kEnd, {.min = passage.begin}));
  return passage;
}

absl::StatusOr<int32_t> DocumentPassages(const Payload& payload) {
  RETURN_IF_ERROR(GetValue<std::string>(payload, kDocumentId).status());
  ASSIGN_OR_RETURN(const int64_t passages,
                   GetInteger(payload, kPassages, {.min = 1, .max = kDocumentPassagesMax}));
  return static_cast<int32_t>(passages);
}

}  // namespace baton
