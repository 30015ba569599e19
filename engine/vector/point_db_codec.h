#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/point_db.h"
#include "rocksdb/status.h"

namespace rocksdb {
class WriteBatch;
}

// The keys and values of PointDb, as bytes. The kinds of keys are listed there.
namespace baton {

// With payload indexes, whose files older daemons would not tell of patches.
inline constexpr uint32_t kFormatOfSidecars = 5;
// With product codes of 8 bits.
inline constexpr uint32_t kFormatOfPqBits = 6;
inline constexpr uint32_t kFormatVersion = kFormatOfPqBits;
// With named vectors, or a partition key.
inline constexpr uint32_t kFormatOfNames = 4;
// With other types of vectors than floats, or UUIDs.
inline constexpr uint32_t kFormatOfTypes = 3;
inline constexpr uint32_t kFormatOfNumbers = 2;
// Without a manifest: points were looked through at every start.
inline constexpr uint32_t kFormatWithoutManifest = 1;
inline constexpr char kFormatKey[] = "M";
inline constexpr char kNextCollectionKey[] = "N";
inline constexpr char kSequenceKey[] = "S";
inline constexpr char kIncompleteKey[] = "F";
inline constexpr char kResumedKey[] = "R";
inline constexpr char kAliasesKey[] = "A";

// DATA_LOSS for corruption, RESOURCE_EXHAUSTED where the disk is full. `what` failed.
absl::Status ToStatus(const rocksdb::Status& status, std::string_view what);

// What a collection's own keys start with.
inline constexpr char kCollectionKinds[] = {'V', 'P', 'G', 'D', 'U', 'v', 'p', 'X', 'Q'};

// The key of a collection's record ('C'), or what all keys of its points start with ('V', 'P').
std::string CollectionKey(char kind, uint32_t collection_id);
// Of kinds that have a number: a segment's, or a write's.
std::string NumberKey(char kind, uint32_t collection_id, uint64_t number);
// The number at the end of a key that starts with CollectionKey.
std::optional<uint64_t> NumberInKey(std::string_view key);
// Of a point's records, 'V' and 'P'; UUIDs have kinds of their own, in lower case.
constexpr char KindOfUuids(char kind) { return static_cast<char>(kind - 'A' + 'a'); }
std::string PointKey(char kind, uint32_t collection_id, PointId id);

bool HasUuids(std::span<const PointId> ids);

std::string EncodeNumber(uint64_t value);
std::string EncodeSegment(const StoredSegment& segment);
std::string EncodeSidecar(const StoredSidecar& sidecar);  // without its segment
bool DecodeSidecarRecord(std::string_view value, StoredSidecar* sidecar);
std::string EncodePending(std::span<const PointId> upserts, std::span<const PointId> deletes);
// False where the value is no such record, as below.
bool DecodePending(std::string_view value, PendingWrite* write);
std::string EncodeIndexes(std::span<const PayloadIndex> indexes);
std::string EncodeAliases(std::span<const StoredAlias> aliases);
// Without the named vectors of a collection, which have records of their own.
std::string EncodeCollection(const StoredCollection& collection);
absl::StatusOr<StoredCollection> DecodeCollection(std::string_view key, std::string_view value);

// As floats, the vector is copied once, from the point to the batch. `row`: scratch.
void PutVector(const PlacedWrite& placed, const Point& point, std::vector<std::byte>& row,
               rocksdb::WriteBatch& batch);
// `vector` is resized to the format's dimension.
bool DecodeVector(std::string_view value, const VectorFormat& format, WriteSequence* sequence,
                  std::vector<float>& vector);

absl::Status DamagedPoint(PointId id, const char* what);

}  // namespace baton
