#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/payload_snapshot.h"
#include "engine/vector/vector_options.h"

namespace rocksdb {
class DB;
class Env;
class Status;
class WriteBatch;
class WriteBufferManager;
}  // namespace rocksdb

namespace baton {

struct Write;
struct WriteResult;

// A collection's own record. Ids are never used twice, so that nothing left over from a dropped
// collection can be taken for another's.
// A named vector has a record of its own, and keys, as a collection has, but for payloads.
struct StoredCollection {
  uint32_t id = 0;
  CollectionSpec spec;
  std::string embedder;
  uint32_t parent_id = 0;  // of a named vector: its collection's; else 0
};

// Where a named vector is.
struct StoredVector {
  uint32_t id = 0;
  VectorFormat format;
  std::string name;
};

// What a point's payload becomes.
struct PatchedPayload {
  PointId id = 0;
  Payload payload;
};

// A write with the place and number it gets. Points at the caller's.
struct PlacedWrite {
  uint32_t collection_id = 0;
  WriteSequence sequence = 0;
  VectorFormat format = {};  // of the collection
  const Write* write = nullptr;
  WriteResult* result = nullptr;
  bool is_indexed = false;  // has payload indexes
  bool is_named = false;    // of a named vector: payloads are stored with its collection alone
  std::vector<PatchedPayload> patched = {};  // what the write's patches come to, each id once
};

// A name that stands for a collection.
struct StoredAlias {
  std::string name;
  uint32_t collection_id = 0;
};

// A segment as the manifest has it: with it, the segment's file is part of the truth.
struct StoredSegment {
  uint64_t number = 0;
  int64_t rows = 0;
  uint32_t file_sum = 0;    // SegmentFile::sum
  std::string recall = {};  // RecallCurve; empty: not measured
  std::string dead;  // DeadRows; of all writes before ManifestChange::pending_from, at the least
};

// The file of a segment's payload indexes, as the manifest has it.
struct StoredSidecar {
  uint64_t segment = 0;
  uint64_t number = 0;    // SidecarFileName
  uint32_t file_sum = 0;  // of ReadSidecarFile
};

// Points that a write patched, and that such files may not tell.
struct PatchedPoints {
  WriteSequence sequence = 0;
  std::vector<PointId> ids;  // empty: none are left
};

// What becomes true at once when segments are sealed or merged.
struct ManifestChange {
  std::vector<StoredSegment> added;
  std::vector<StoredSegment> dead;  // of segments that stay: number and dead rows alone
  std::vector<uint64_t> removed;
  WriteSequence pending_from = 0;       // writes before it are all in segments
  std::vector<StoredSidecar> sidecars;  // in place of those their segments had
  std::vector<PatchedPoints> patched;   // what is left of each
};

// A write that may not be in segments: what it wrote and deleted.
struct PendingWrite {
  WriteSequence sequence = 0;
  std::vector<PointId> upserts;
  std::vector<PointId> deletes;
};

// The database of all collections, in RocksDB. Keys, numbers big-endian so that they sort:
//   M                        format version
//   N                        the next collection id
//   S                        the last write sequence
//   R                        something, for HaveSomethingToFlush
//   F                        there while G and U do not tell all: points are to be looked through
//   A                        all aliases; none where there is no such record
//   C collection_id          StoredCollection; named vectors have ids as collections
//   I collection_id          payload indexes; none where there is no such record
//   V collection_id point_id u64 sequence, then the vector: VectorFormat
//   P collection_id point_id payload; there for every point
//   v, p                     the same of points whose ids are UUIDs, of 16 bytes
//   G collection_id number   the manifest: a segment, without its dead rows
//   D collection_id number   its dead rows
//   X collection_id number   StoredSidecar of a segment; none: it is made of the payloads
//   Q collection_id sequence PatchedPoints: read again at opening, over the sidecars
//   U collection_id sequence PendingWrite: what is to be replayed over the segments
// Threads: the methods that write points and collections exclude each other by the caller's lock;
// ChangeManifest, Sync and reading are anybody's.
class PointDb {
 public:
  // `directory` exists. DATA_LOSS for corruption, naming the file; after a crash, a torn last write
  // is none. Where the write-ahead log is damaged before its end, the database is read-only: it
  // tells what is whole. With VectorOptions::repair that becomes the truth, and the damaged log is
  // copied to `damaged_directory` first.
  static absl::StatusOr<std::unique_ptr<PointDb>> Open(const VectorOptions& options,
                                                       const std::string& directory,
                                                       const std::string& damaged_directory,
                                                       std::shared_ptr<FileLayer> files);
  // One that nothing writes to, as a snapshot's.
  static absl::StatusOr<std::unique_ptr<PointDb>> OpenForReading(const VectorOptions& options,
                                                                 const std::string& directory,
                                                                 std::shared_ptr<FileLayer> files);
  ~PointDb();
  PointDb(const PointDb&) = delete;
  PointDb& operator=(const PointDb&) = delete;

  WriteSequence last_sequence() const { return last_sequence_; }
  struct Usage {
    int64_t file_bytes = 0;          // of tables and logs
    int64_t unflushed_bytes = 0;     // in the log and memory alone
    int64_t compaction_bytes = 0;    // that are to be rewritten
    int64_t write_buffer_bytes = 0;  // of VectorOptions::write_buffer_mb
  };
  Usage TellUsage() const;  // microseconds, under a lock of RocksDB's
  // OK, or what every write is refused with: FAILED_PRECONDITION, which names the damaged file and
  // how to repair it.
  const absl::Status& writable() const { return writable_; }
  // By id, named vectors among them, behind their collections.
  absl::StatusOr<std::vector<StoredCollection>> Collections() const;
  absl::StatusOr<std::vector<StoredAlias>> Aliases() const;
  using RowVisitor =
      absl::FunctionRef<absl::Status(PointId id, WriteSequence sequence, const float* vector)>;
  // By ascending id. `vector` is [dimension] and valid during the call.
  absl::Status ForEachVector(const StoredCollection& collection, RowVisitor visit) const;
  // The manifest of a collection, by number, and its writes since, by sequence.
  absl::StatusOr<std::vector<StoredSegment>> Segments(uint32_t collection_id) const;
  absl::StatusOr<std::vector<PendingWrite>> Pending(uint32_t collection_id) const;
  absl::StatusOr<std::vector<StoredSidecar>> Sidecars(uint32_t collection_id) const;
  // Of writes up to `last`, by sequence.
  absl::StatusOr<std::vector<PatchedPoints>> Patched(uint32_t collection_id,
                                                     WriteSequence last) const;
  // Whether those tell all about all collections.
  bool manifest_is_complete() const { return manifest_is_complete_; }
  // The vectors of these points, as stored; visited in the order asked, missing ones left out.
  absl::Status ReadVectors(const StoredCollection& collection, std::span<const PointId> ids,
                           RowVisitor visit) const;
  using PayloadVisitor = absl::FunctionRef<absl::Status(PointId id, const Payload& payload)>;
  // As ReadVectors.
  absl::Status ReadPayloads(uint32_t collection_id, std::span<const PointId> ids,
                            PayloadVisitor visit) const;
  // By ascending id.
  absl::Status ForEachPayload(uint32_t collection_id, PayloadVisitor visit) const;
  // The payloads as they are now.
  std::shared_ptr<const PayloadSnapshot> TakePayloads(uint32_t collection_id) const {
    return std::make_shared<PayloadSnapshot>(door_, collection_id);
  }
  // Empty where the collection has none.
  absl::StatusOr<PayloadIndexes> Indexes(uint32_t collection_id) const;
  // Nothing where there is no such point.
  absl::StatusOr<std::optional<Payload>> GetPayload(uint32_t collection_id, PointId id) const;
  // As VectorStore::Get.
  absl::StatusOr<std::vector<Point>> Get(uint32_t collection_id, const VectorFormat& format,
                                         std::span<const StoredVector> named,
                                         std::span<const PointId> ids, bool with_vectors,
                                         bool with_payload) const;

  // Durable on return, per the fsync policy. On error nothing is changed (the numbers given out are
  // not used again); RESOURCE_EXHAUSTED where the disk is full.
  // The collection, and behind it its named vectors.
  absl::StatusOr<std::vector<StoredCollection>> CreateCollection(const CollectionSpec& spec,
                                                                 const std::string& embedder);
  // `ids`: the collection's, and those of its named vectors. `aliases`: those that are left, at
  // once with it.
  absl::Status DropCollection(std::span<const uint32_t> ids, std::span<const StoredAlias> aliases);
  // All of them, at once.
  absl::Status SetAliases(std::span<const StoredAlias> aliases);
  // Deletes what dropped collections left; `collections` are those that are there.
  absl::Status PurgeDropped(std::span<const StoredCollection> collections);
  absl::Status SetIndexes(uint32_t collection_id, const PayloadIndexes& indexes);
  // Of a store whose payload indexes were set by an older daemon, before anything is written that
  // it would not read.
  absl::Status RaiseFormatForIndexes();
  // All writes in one batch. Numbers them from last_sequence() + 1.
  absl::Status Commit(std::span<PlacedWrite> writes);
  // Durable on return, all or nothing, and with it every write before. NOT_FOUND where the
  // collection was dropped.
  absl::Status ChangeManifest(uint32_t collection_id, const ManifestChange& change);
  // The same in place of all the collection's pending writes: these are all there are. Sidecars
  // that were stored before, and marks of patches, go where the manifest was not complete.
  absl::Status ReplaceManifest(uint32_t collection_id, const ManifestChange& change,
                               std::span<const PendingWrite> pending);
  // Of a collection that has no payload indexes any more: its files of them are no longer named.
  absl::Status DropSidecars(uint32_t collection_id);
  // After ReplaceManifest of all collections; or, where no manifest will be kept, before the first
  // write.
  absl::Status SetManifestComplete(bool complete);
  // The database as it is now, as another one in `directory`, which does not exist.
  absl::Status CreateCheckpoint(const std::string& directory);
  // Reads all tables. DATA_LOSS names the one that is damaged.
  absl::Status VerifyChecksums() const;
  // What was committed before survives a crash of the machine, whatever the fsync policy.
  absl::Status Sync();

 private:
  PointDb(const VectorOptions& options, std::string directory, std::shared_ptr<FileLayer> files);
  absl::Status Load();
  // The values of one kind of key, by ascending id.
  absl::Status ForEachPoint(
      char kind, uint32_t collection_id,
      absl::FunctionRef<absl::Status(PointId id, std::string_view value)> visit) const;
  // The values of one kind of key, of these points in their order, missing ones left out.
  absl::Status ReadPoints(
      char kind, uint32_t collection_id, std::span<const PointId> ids,
      absl::FunctionRef<absl::Status(PointId id, std::string_view value)> visit) const;
  void AddToBatch(uint32_t collection_id, const ManifestChange& change,
                  rocksdb::WriteBatch& batch) const;
  // Deletes a collection's records of a kind whose numbers are below.
  void DropNumbered(char kind, uint32_t collection_id, uint64_t before,
                    rocksdb::WriteBatch& batch) const;
  // Records as of 'U'.
  absl::StatusOr<std::vector<PendingWrite>> Writes(char kind, uint32_t collection_id,
                                                   WriteSequence last) const;
  absl::Status CheckExists(uint32_t collection_id) const;
  absl::Status Purge(uint32_t collection_id);
  absl::Status CheckFreeSpace(size_t batch_bytes) const;
  absl::Status Apply(rocksdb::WriteBatch& batch, bool sync = false);
  absl::Status ApplyLocked(rocksdb::WriteBatch& batch, bool sync);
  // Both under write_mutex_. Resume: UNAVAILABLE where only a new process can write again.
  absl::Status Resume();
  rocksdb::Status HaveSomethingToFlush();
  void SyncPeriodically();
  absl::Status OpenDatabase(const std::string& damaged_directory);
  absl::Status KeepDamagedLogs(const std::string& damaged_directory) const;
  // Has the MANIFEST say that only the newest log is needed. RocksDB does so itself where it read
  // writes from the others; one that a power cut took all of would stay, and FindLogDamage take it
  // for damage as soon as the newest log has writes.
  absl::Status LeaveOldLogs();

  const VectorOptions options_;
  const std::string directory_;
  const std::shared_ptr<FileLayer> files_;
  std::unique_ptr<rocksdb::Env> env_;
  const std::shared_ptr<rocksdb::WriteBufferManager> write_buffers_;
  struct Listener;
  const std::shared_ptr<Listener> listener_;
  std::unique_ptr<rocksdb::DB> db_;
  std::shared_ptr<SnapshotDoor> door_;  // to db_
  WriteSequence last_sequence_ = 0;
  uint32_t next_collection_id_ = 1;
  uint32_t format_ = 2;  // that is stored: the least that tells of all there is
  absl::Status writable_;
  bool log_is_damaged_ = false;
  bool manifest_is_complete_ = true;
  std::mutex write_mutex_;              // one batch at a time
  uint64_t failed_log_ = 0;             // that failed and is to be replaced; 0: none
  absl::Status failure_;                // of the last write that failed; guarded by write_mutex_
  std::atomic<bool> failed_ = false;    // a write failed: RocksDB may want to be resumed first
  std::atomic<bool> unsynced_ = false;  // something was written since the last sync

  std::mutex sync_mutex_;
  std::condition_variable stop_sync_;
  bool stopping_ = false;
  std::thread sync_thread_;  // where fsync is "interval"
};

}  // namespace baton
