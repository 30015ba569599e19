#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/vector_options.h"

namespace rocksdb {
class DB;
class WriteBatch;
}  // namespace rocksdb

namespace baton {

struct Write;
struct WriteResult;

// A collection's own record. Ids are never used twice, so that nothing left over from a dropped
// collection can be taken for another's.
struct StoredCollection {
  uint32_t id = 0;
  CollectionSpec spec;
  std::string embedder;
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
  const Write* write = nullptr;
  WriteResult* result = nullptr;
  std::vector<PatchedPayload> patched = {};  // what the write's patches come to, each id once
};

// The database of all collections, in RocksDB. Keys, numbers big-endian so that they sort:
//   M                        format version
//   N                        the next collection id
//   S                        the last write sequence
//   C collection_id          StoredCollection
//   I collection_id          payload indexes; none where there is no such record
//   V collection_id point_id u64 sequence, then the vector as the client sent it
//   P collection_id point_id payload; there for every point
// Threads: the methods that write exclude each other by the caller's lock; reading is anybody's.
class PointDb {
 public:
  // `directory` exists. DATA_LOSS for corruption; after a crash, a torn last record is none.
  static absl::StatusOr<std::unique_ptr<PointDb>> Open(const VectorOptions& options,
                                                       const std::string& directory);
  ~PointDb();
  PointDb(const PointDb&) = delete;
  PointDb& operator=(const PointDb&) = delete;

  WriteSequence last_sequence() const { return last_sequence_; }
  absl::StatusOr<std::vector<StoredCollection>> Collections() const;
  using RowVisitor =
      absl::FunctionRef<absl::Status(PointId id, WriteSequence sequence, const float* vector)>;
  // By ascending id. `vector` is [dimension] and valid during the call.
  absl::Status ForEachVector(const StoredCollection& collection, RowVisitor visit) const;
  // By ascending id.
  absl::Status ForEachPayload(
      uint32_t collection_id,
      absl::FunctionRef<absl::Status(PointId id, const Payload& payload)> visit) const;
  // Empty where the collection has none.
  absl::StatusOr<PayloadIndexes> Indexes(uint32_t collection_id) const;
  // Nothing where there is no such point.
  absl::StatusOr<std::optional<Payload>> GetPayload(uint32_t collection_id, PointId id) const;
  // As VectorStore::Get.
  absl::StatusOr<std::vector<Point>> Get(uint32_t collection_id, int32_t dimension,
                                         std::span<const PointId> ids, bool with_vectors,
                                         bool with_payload) const;

  // Durable on return, per the fsync policy. On error nothing is changed (the numbers given out are
  // not used again); RESOURCE_EXHAUSTED where the disk is full.
  absl::StatusOr<uint32_t> CreateCollection(const CollectionSpec& spec,
                                            const std::string& embedder);
  absl::Status DropCollection(uint32_t collection_id);
  absl::Status SetIndexes(uint32_t collection_id, const PayloadIndexes& indexes);
  // All writes in one batch. Numbers them from last_sequence() + 1.
  absl::Status Commit(std::span<PlacedWrite> writes);
  // What was committed before survives a crash of the machine, whatever the fsync policy.
  absl::Status Sync() const;

 private:
  PointDb(const VectorOptions& options, std::string directory);
  absl::Status Load();
  absl::Status CheckFreeSpace(size_t batch_bytes) const;
  absl::Status Apply(rocksdb::WriteBatch& batch);
  void SyncPeriodically();

  const VectorOptions options_;
  const std::string directory_;
  std::unique_ptr<rocksdb::DB> db_;
  WriteSequence last_sequence_ = 0;
  uint32_t next_collection_id_ = 1;
  bool failed_ = false;  // the last write failed: RocksDB may want to be resumed first

  std::mutex sync_mutex_;
  std::condition_variable stop_sync_;
  bool stopping_ = false;
  std::thread sync_thread_;  // where fsync is "interval"
};

}  // namespace baton
