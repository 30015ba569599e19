#include "engine/vector/point_db_codec.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/strings.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "rocksdb/slice.h"
#include "rocksdb/write_batch.h"

namespace baton {
namespace {

void AppendBigEndian(std::string& out, uint32_t value) {
  AppendNumber(out, __builtin_bswap32(value));
}
void AppendBigEndian(std::string& out, uint64_t value) {
  AppendNumber(out, __builtin_bswap64(value));
}

// In the number of upserts: ids are 16 bytes each, the lower half first, since some are UUIDs.
constexpr uint32_t kHasUuids = 1u << 31;

}  // namespace

absl::Status ToStatus(const rocksdb::Status& status, std::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = StrCat(what, ": ", status.ToString());
  // ResumableFiles leaves of that kind of error its words.
  const bool full = message.find("No space left on device") != std::string::npos;
  if (status.IsNoSpace() || full)
    return absl::ResourceExhaustedError(StrCat("disk full: ", message));
  if (status.IsCorruption() || status.IsPathNotFound()) return absl::DataLossError(message);
  if (status.IsBusy() || status.IsTryAgain()) return absl::UnavailableError(message);
  return absl::InternalError(message);
}

std::string CollectionKey(char kind, uint32_t collection_id) {
  std::string key(1, kind);
  AppendBigEndian(key, collection_id);
  return key;
}

std::string NumberKey(char kind, uint32_t collection_id, uint64_t number) {
  std::string key = CollectionKey(kind, collection_id);
  AppendBigEndian(key, number);
  return key;
}

std::string PointKey(char kind, uint32_t collection_id, PointId id) {
  if (!IsUuid(id)) return NumberKey(kind, collection_id, LowerHalf(id));
  std::string key = NumberKey(KindOfUuids(kind), collection_id, UpperHalf(id));
  AppendBigEndian(key, LowerHalf(id));
  return key;
}

std::string EncodeSegment(const StoredSegment& segment) {
  std::string out;
  AppendNumber(out, segment.rows);
  AppendNumber(out, segment.file_sum);
  if (!segment.recall.empty()) AppendText(out, segment.recall);  // else as it was before that
  return out;
}

std::string EncodeSidecar(const StoredSidecar& sidecar) {
  std::string out;
  AppendNumber(out, sidecar.number);
  AppendNumber(out, sidecar.file_sum);
  return out;
}

bool DecodeSidecarRecord(std::string_view value, StoredSidecar* sidecar) {
  ByteReader reader(value);
  const auto number = reader.Take<uint64_t>();
  const auto sum = reader.Take<uint32_t>();
  if (!sum.has_value() || !reader.at_end()) return false;
  sidecar->number = *number;
  sidecar->file_sum = *sum;
  return true;
}

bool HasUuids(std::span<const PointId> ids) { return std::any_of(ids.begin(), ids.end(), IsUuid); }

std::string EncodePending(std::span<const PointId> upserts, std::span<const PointId> deletes) {
  std::string out;
  const bool uuids = HasUuids(upserts) || HasUuids(deletes);
  AppendNumber(out, static_cast<uint32_t>(upserts.size()) | (uuids ? kHasUuids : 0));
  for (const auto ids : {upserts, deletes}) {
    for (const PointId id : ids) {
      AppendNumber(out, LowerHalf(id));
      if (uuids) AppendNumber(out, UpperHalf(id));
    }
  }
  return out;
}

bool DecodePending(std::string_view value, PendingWrite* write) {
  ByteReader reader(value);
  const auto head = reader.Take<uint32_t>();
  if (!head.has_value()) return false;
  const bool uuids = (*head & kHasUuids) != 0;
  const uint32_t upserts = *head & ~kHasUuids;
  while (const auto lower = reader.Take<uint64_t>()) {
    const std::optional<uint64_t> upper = uuids ? reader.Take<uint64_t>() : 0;
    if (!upper.has_value()) return false;
    (write->upserts.size() < upserts ? write->upserts : write->deletes)
        .push_back(MakePointId(*upper, *lower));
  }
  return reader.at_end() && write->upserts.size() == upserts;
}

std::optional<uint64_t> NumberInKey(std::string_view key) {
  ByteReader reader(key.substr(std::min(key.size(), CollectionKey('G', 0).size())));
  const std::optional<uint64_t> number = reader.Take<uint64_t>();
  if (!number.has_value() || !reader.at_end()) return std::nullopt;
  return __builtin_bswap64(*number);
}

std::string EncodeIndexes(std::span<const PayloadIndex> indexes) {
  std::string out;
  for (const PayloadIndex& index : indexes) {
    AppendNumber(out, static_cast<uint8_t>(index.kind));
    AppendText(out, index.field);
  }
  return out;
}

std::string EncodeAliases(std::span<const StoredAlias> aliases) {
  std::string out;
  for (const StoredAlias& alias : aliases) {
    AppendText(out, alias.name);
    AppendNumber(out, alias.collection_id);
  }
  return out;
}

std::string EncodeNumber(uint64_t value) {
  std::string out;
  AppendNumber(out, value);
  return out;
}

std::string EncodeCollection(const StoredCollection& collection) {
  const CollectionSpec& spec = collection.spec;
  std::string out;
  AppendNumber(out, spec.dimension);
  AppendNumber(out, static_cast<uint8_t>(spec.metric));
  AppendNumber(out, spec.hnsw_m);
  AppendNumber(out, spec.hnsw_ef_construction);
  AppendText(out, spec.name);
  AppendText(out, collection.embedder);
  const bool coded = spec.ivf_pq_bits != 4;
  const bool extended = collection.parent_id != 0 || !spec.partition_key.empty() || coded;
  const bool typed = extended || spec.storage != VectorStorage::kF32;
  if (spec.index != IndexKind::kHnsw || typed) {  // else as it was before there were others
    AppendNumber(out, static_cast<uint8_t>(spec.index));
    AppendNumber(out, spec.ivf_lists);
    AppendNumber(out, spec.ivf_pq_bytes);
  }
  if (typed) AppendNumber(out, static_cast<uint8_t>(spec.storage));
  if (extended) {
    AppendNumber(out, collection.parent_id);
    AppendText(out, spec.vector_name);
    if (!spec.partition_key.empty() || coded) AppendText(out, spec.partition_key);
    if (coded) AppendNumber(out, spec.ivf_pq_bits);
  }
  return out;
}

absl::StatusOr<StoredCollection> DecodeCollection(std::string_view key, std::string_view value) {
  ByteReader key_reader(key.substr(1));
  const std::optional<uint32_t> id = key_reader.Take<uint32_t>();
  ByteReader reader(value);
  const auto dimension = reader.Take<int32_t>();
  const auto metric = reader.Take<uint8_t>();
  const auto m = reader.Take<int32_t>();
  const auto ef_construction = reader.Take<int32_t>();
  auto name = reader.TakeText();
  auto embedder = reader.TakeText();
  std::optional<uint8_t> index = 0;
  std::optional<int32_t> lists = 0;
  std::optional<int32_t> pq_bytes = 0;
  if (embedder.has_value() && !reader.at_end()) {
    index = reader.Take<uint8_t>();
    lists = reader.Take<int32_t>();
    pq_bytes = reader.Take<int32_t>();
  }
  std::optional<uint8_t> storage = 0;
  if (pq_bytes.has_value() && !reader.at_end()) storage = reader.Take<uint8_t>();
  std::optional<uint32_t> parent_id = 0;
  std::optional<std::string> vector_name = "";
  if (storage.has_value() && !reader.at_end()) {
    parent_id = reader.Take<uint32_t>();
    vector_name = reader.TakeText();
  }
  std::optional<std::string> partition_key = "";
  if (vector_name.has_value() && !reader.at_end()) partition_key = reader.TakeText();
  std::optional<int32_t> pq_bits = 4;
  if (partition_key.has_value() && !reader.at_end()) pq_bits = reader.Take<int32_t>();
  if (!id.has_value() || !key_reader.at_end() || !embedder.has_value() || !name.has_value() ||
      !reader.at_end() || !pq_bytes.has_value() || !parent_id.has_value() ||
      !vector_name.has_value() || !partition_key.has_value() || !pq_bits.has_value()) {
    return absl::DataLossError("the record of a collection is damaged");
  }
  StoredCollection collection{.id = __builtin_bswap32(*id),
                              .spec = {.name = std::move(*name),
                                       .dimension = *dimension,
                                       .metric = static_cast<Metric>(*metric),
                                       .hnsw_m = *m,
                                       .hnsw_ef_construction = *ef_construction,
                                       .index = static_cast<IndexKind>(*index),
                                       .ivf_lists = *lists,
                                       .ivf_pq_bytes = *pq_bytes,
                                       .ivf_pq_bits = *pq_bits,
                                       .storage = static_cast<VectorStorage>(*storage),
                                       .partition_key = std::move(*partition_key),
                                       .vector_name = std::move(*vector_name)},
                              .embedder = std::move(*embedder),
                              .parent_id = *parent_id};
  // Of only named vectors, which are not known yet.
  CollectionSpec checked = collection.spec;
  if (collection.parent_id == 0 && checked.dimension == 0) checked.dimension = 1;
  if (const absl::Status status = CheckSpec(checked); !status.ok()) {
    return absl::DataLossError(StrCat("the record of a collection is damaged: ", status.message()));
  }
  return collection;
}

void PutVector(const PlacedWrite& placed, const Point& point, std::vector<std::byte>& row,
               rocksdb::WriteBatch& batch) {
  const std::string key_text = PointKey('V', placed.collection_id, point.id);
  const rocksdb::Slice key = key_text;
  rocksdb::Slice vector(reinterpret_cast<const char*>(point.vector.data()),
                        point.vector.size() * sizeof(float));
  if (placed.format.storage() != VectorStorage::kF32) {
    row.resize(static_cast<size_t>(placed.format.row_bytes()));
    placed.format.Encode(point.vector.data(), row.data());
    vector = {reinterpret_cast<const char*>(row.data()), row.size()};
  }
  const rocksdb::Slice value[] = {
      {reinterpret_cast<const char*>(&placed.sequence), sizeof(placed.sequence)}, vector};
  batch.Put(rocksdb::SliceParts(&key, 1), rocksdb::SliceParts(value, 2));
}

bool DecodeVector(std::string_view value, const VectorFormat& format, WriteSequence* sequence,
                  std::vector<float>& vector) {
  if (value.size() != sizeof(*sequence) + static_cast<size_t>(format.row_bytes())) return false;
  std::memcpy(sequence, value.data(), sizeof(*sequence));
  vector.resize(static_cast<size_t>(format.dimension()));
  format.Decode(reinterpret_cast<const std::byte*>(value.data()) + sizeof(*sequence), 1,
                vector.data());
  return true;
}

absl::Status DamagedPoint(PointId id, const char* what) {
  return absl::DataLossError(StrCat("the stored ", what, " of point ", IdText(id), " is damaged"));
}

}  // namespace baton
