// What the database tells of segments: the manifest, and the writes that are in none yet.

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/vector/byte_codec.h"
#include "engine/vector/point_db.h"
#include "engine/vector/point_db_codec.h"
#include "rocksdb/db.h"
#include "rocksdb/write_batch.h"

namespace baton {

absl::StatusOr<std::vector<StoredSegment>> PointDb::Segments(uint32_t collection_id) const {
  std::vector<StoredSegment> segments;
  const std::string prefix = CollectionKey('G', collection_id);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::optional<uint64_t> number = NumberInKey(it->key().ToStringView());
    ByteReader reader(it->value().ToStringView());
    const auto rows = reader.Take<int64_t>();
    const auto sum = reader.Take<uint32_t>();
    std::string recall;
    if (!reader.at_end()) recall = reader.TakeText().value_or("");
    if (!number.has_value() || !sum.has_value() || !reader.at_end()) {
      return absl::DataLossError("the manifest's record of a segment is damaged");
    }
    StoredSegment segment{
        .number = *number, .rows = *rows, .file_sum = *sum, .recall = std::move(recall)};
    RETURN_IF_ERROR(ToStatus(db_->Get({}, NumberKey('D', collection_id, *number), &segment.dead),
                             "cannot read the dead rows of a segment"));
    segments.push_back(std::move(segment));
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the manifest"));
  return segments;
}

absl::StatusOr<std::vector<StoredSidecar>> PointDb::Sidecars(uint32_t collection_id) const {
  std::vector<StoredSidecar> sidecars;
  const std::string prefix = CollectionKey('X', collection_id);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::optional<uint64_t> segment = NumberInKey(it->key().ToStringView());
    StoredSidecar sidecar;
    if (!segment.has_value() || !DecodeSidecarRecord(it->value().ToStringView(), &sidecar)) {
      return absl::DataLossError("the manifest's record of payload indexes is damaged");
    }
    sidecar.segment = *segment;
    sidecars.push_back(sidecar);
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the manifest"));
  return sidecars;
}

absl::StatusOr<std::vector<PatchedPoints>> PointDb::Patched(uint32_t collection_id,
                                                            WriteSequence last) const {
  ASSIGN_OR_RETURN(const std::vector<PendingWrite> writes, Writes('Q', collection_id, last));
  std::vector<PatchedPoints> patched;
  for (const PendingWrite& write : writes) {
    patched.push_back({.sequence = write.sequence, .ids = write.upserts});
  }
  return patched;
}

absl::StatusOr<std::vector<PendingWrite>> PointDb::Pending(uint32_t collection_id) const {
  return Writes('U', collection_id, UINT64_MAX);
}

absl::StatusOr<std::vector<PendingWrite>> PointDb::Writes(char kind, uint32_t collection_id,
                                                          WriteSequence last) const {
  std::vector<PendingWrite> writes;
  const std::string prefix = CollectionKey(kind, collection_id);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::optional<uint64_t> sequence = NumberInKey(it->key().ToStringView());
    if (sequence.has_value() && *sequence > last) break;
    PendingWrite write;
    if (!sequence.has_value() || !DecodePending(it->value().ToStringView(), &write)) {
      return absl::DataLossError("the record of a pending write is damaged");
    }
    write.sequence = *sequence;
    writes.push_back(std::move(write));
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "cannot read the pending writes"));
  return writes;
}

absl::Status PointDb::CheckExists(uint32_t collection_id) const {
  std::string ignored;
  const rocksdb::Status status = db_->Get({}, CollectionKey('C', collection_id), &ignored);
  if (status.IsNotFound()) return absl::NotFoundError("the collection was dropped");
  return ToStatus(status, "cannot read a collection");
}

void PointDb::AddToBatch(uint32_t collection_id, const ManifestChange& change,
                         rocksdb::WriteBatch& batch) const {
  for (const uint64_t number : change.removed) {
    batch.Delete(NumberKey('G', collection_id, number));
    batch.Delete(NumberKey('D', collection_id, number));
    batch.Delete(NumberKey('X', collection_id, number));
  }
  for (const StoredSegment& segment : change.added) {
    batch.Put(NumberKey('G', collection_id, segment.number), EncodeSegment(segment));
    batch.Put(NumberKey('D', collection_id, segment.number), segment.dead);
  }
  for (const StoredSegment& segment : change.dead) {
    batch.Put(NumberKey('D', collection_id, segment.number), segment.dead);
  }
  for (const StoredSidecar& sidecar : change.sidecars) {
    batch.Put(NumberKey('X', collection_id, sidecar.segment), EncodeSidecar(sidecar));
  }
  for (const PatchedPoints& patched : change.patched) {
    const std::string key = NumberKey('Q', collection_id, patched.sequence);
    if (patched.ids.empty()) {
      batch.Delete(key);
    } else {
      batch.Put(key, EncodePending(patched.ids, {}));
    }
  }
  DropNumbered('U', collection_id, change.pending_from, batch);
}

void PointDb::DropNumbered(char kind, uint32_t collection_id, uint64_t before,
                           rocksdb::WriteBatch& batch) const {
  // One by one: a memtable with a deleted range ends the process, by RocksDB's own checks, where
  // writing is resumed twice.
  const std::string prefix = CollectionKey(kind, collection_id);
  const std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator({}));
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    const std::optional<uint64_t> number = NumberInKey(it->key().ToStringView());
    if (number.has_value() && *number >= before) return;
    batch.Delete(it->key());
  }
}

absl::Status PointDb::ChangeManifest(uint32_t collection_id, const ManifestChange& change) {
  rocksdb::WriteBatch batch;
  AddToBatch(collection_id, change, batch);
  const std::lock_guard lock(write_mutex_);
  RETURN_IF_ERROR(CheckExists(collection_id));
  return ApplyLocked(batch, /*sync=*/true);
}

absl::Status PointDb::ReplaceManifest(uint32_t collection_id, const ManifestChange& change,
                                      std::span<const PendingWrite> pending) {
  rocksdb::WriteBatch batch;
  AddToBatch(collection_id, change, batch);
  DropNumbered('U', collection_id, UINT64_MAX, batch);
  if (!manifest_is_complete_) {
    DropNumbered('X', collection_id, UINT64_MAX, batch);
    DropNumbered('Q', collection_id, UINT64_MAX, batch);
  }
  for (const PendingWrite& write : pending) {
    batch.Put(NumberKey('U', collection_id, write.sequence),
              EncodePending(write.upserts, write.deletes));
  }
  return Apply(batch, /*sync=*/true);
}

absl::Status PointDb::DropSidecars(uint32_t collection_id) {
  rocksdb::WriteBatch batch;
  DropNumbered('X', collection_id, UINT64_MAX, batch);
  DropNumbered('Q', collection_id, UINT64_MAX, batch);
  return batch.Count() == 0 ? absl::OkStatus() : Apply(batch, /*sync=*/true);
}

absl::Status PointDb::SetManifestComplete(bool complete) {
  rocksdb::WriteBatch batch;
  batch.Put(kFormatKey, EncodeNumber(format_));
  if (complete) {
    batch.Delete(kIncompleteKey);
  } else {
    batch.Put(kIncompleteKey, EncodeNumber(1));
  }
  RETURN_IF_ERROR(Apply(batch, /*sync=*/true));
  manifest_is_complete_ = complete;
  return absl::OkStatus();
}

}  // namespace baton
