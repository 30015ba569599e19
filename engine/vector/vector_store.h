#pragma once

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/segment_index.h"
#include "engine/vector/vector_options.h"

namespace baton {

class Collection;
class DirectoryLock;
class PointDb;
class SegmentBuilder;
class Scrubber;
class Snapshots;
struct SnapshotInfo;
struct VerifyReport;
struct PatchedPayload;
struct StoredAlias;
struct StoredCollection;

// One acknowledged unit of writing: all of it or nothing. Deletes come before upserts, and those
// before patches.
struct Write {
  std::string collection;
  std::vector<Point> upserts = {};         // the last of several with one id wins
  std::vector<PointId> deletes = {};       // ids that do not exist are ignored
  std::vector<PayloadPatch> patches = {};  // after the upserts, in their order
  // The points that match before the write are deleted, or, where there is a patch, patched by it:
  // there are no upserts and no ids then, and one patch at most.
  FilterPtr filter = nullptr;
  // Whose points the filter means, or the write deletes.
  PartitionChoice partition = {};
  // Vectors are as Get told them, and are stored as they are. The store's own.
  bool as_stored = false;
};

struct WriteResult {
  absl::Status status;
  int64_t upserted = 0;  // points written: distinct ids
  int64_t deleted = 0;   // points that existed and that no upsert of the same write brought back
  int64_t patched = 0;   // points whose payload was patched
};

// Owns everything under VectorOptions::data_dir: a RocksDB with collections, points and payloads,
// which is the truth, and files of sealed segments with their graphs, which can be lost. Keeps all
// vectors in memory. Threads: any may call anything; Commit, CreateCollection and DropCollection
// wait for the disk and for each other, Get may read the disk, the rest is quick. Threads of
// its own, at a low priority, seal growing buffers into segments and merge those. A failed
// write changes nothing; when the disk is full, reading goes on and writing resumes by itself once
// there is room. Where the write-ahead log is damaged, the store is read-only: see
// VectorOptions::repair.
class VectorStore {
 public:
  // Recovers everything acknowledged. Errors: INVALID_ARGUMENT or PERMISSION_DENIED for a directory
  // that cannot be used, FAILED_PRECONDITION where another process has it, DATA_LOSS for
  // corruption. `metrics` and `clock` outlive the store. `files`: what the store's files pass;
  // null: the system's.
  static absl::StatusOr<std::unique_ptr<VectorStore>> Open(
      const VectorOptions& options, Metrics& metrics, std::shared_ptr<FileLayer> files = nullptr,
      const Clock& clock = SystemClock());
  ~VectorStore();
  VectorStore(const VectorStore&) = delete;
  VectorStore& operator=(const VectorStore&) = delete;

  // OK, or what every write is refused with: FAILED_PRECONDITION where the store is read-only.
  absl::Status writable() const;

  // `embedder`: what makes the vectors of texts for it; empty where points come by Upsert alone.
  absl::Status CreateCollection(const CollectionSpec& spec, const std::string& embedder);
  // Its points and aliases are gone when this returns; views taken before stay valid. The name is
  // the collection's own: FAILED_PRECONDITION for an alias.
  absl::Status DropCollection(const std::string& name);

  // One action after the other, then all at once or, on an error, none. kSet makes an alias or
  // switches it. A name is an alias or a collection, not both: ALREADY_EXISTS. NOT_FOUND: there is
  // no such alias or collection; RESOURCE_EXHAUSTED: vector.aliases_max. Errors name the action.
  absl::Status UpdateAliases(std::span<const AliasAction> actions);
  std::vector<Alias> ListAliases() const;  // by name
  // Of a collection by its name or an alias: its name, which stays its own when the alias is
  // switched. Other names as they are.
  std::string ResolveName(const std::string& name) const;

  // Filters need an index of each field they ask about. Makes it of the points that are stored,
  // while these are written and searched, and returns when all are in it; until then Describe tells
  // how many are, and filters on the field read the stored payloads of the others. One index is
  // made or dropped at a time. `poll` is asked again and again: what it returns, unless OK, ends
  // the call, and the index is made at the next start. ALREADY_EXISTS, NOT_FOUND: the field has
  // one, or has none; RESOURCE_EXHAUSTED: vector.payload_indexes_max.
  using IndexPoll = absl::FunctionRef<absl::Status()>;
  absl::Status CreatePayloadIndex(
      const std::string& collection, const PayloadIndex& index,
      IndexPoll poll = [] { return absl::OkStatus(); });
  absl::Status DropPayloadIndex(
      const std::string& collection, const std::string& field,
      IndexPoll poll = [] { return absl::OkStatus(); });

  std::vector<CollectionInfo> List() const;  // by name
  absl::StatusOr<CollectionInfo> Describe(const std::string& name) const;
  // Includes every write whose Commit returned before this call. Of a named vector: the points that
  // have it; INVALID_ARGUMENT where the collection has no such vector.
  absl::StatusOr<std::shared_ptr<const CollectionView>> View(
      const std::string& name, const std::string& vector_name = "") const;

  // Whether a filter is within the limits: INVALID_ARGUMENT. Whether a view's indexes answer it is
  // told by whatever uses it.
  absl::Status CheckFilter(const Filter& filter) const;
  // The same of a filter that may be null, and then FilterOf.
  absl::StatusOr<FilterPtr> CheckFilter(const CollectionSpec& spec,
                                        const PartitionChoice& partition, FilterPtr filter) const;
  // What Commit would refuse without trying: unknown collection, wrong dimension, values, limits.
  absl::Status CheckWrite(const Write& write) const;
  // RESOURCE_EXHAUSTED with a hint when to try again where so many points of the collection have no
  // graph yet that upserts should wait, for write_wait_us at most. Commit takes them regardless.
  absl::Status CheckBacklog(const std::string& collection) const;
  TimeUs write_wait_us() const { return options_.write_wait_ms * 1000; }

  // Makes all valid writes durable together, then applies them in order. One result per write.
  // Where RocksDB cannot write, all valid ones fail alike and none is visible; after a crash, a
  // failed write may turn out to have been stored.
  std::vector<WriteResult> Commit(std::vector<Write> writes);

  // Points by id in the order asked, from one state of the store; ids that do not exist are left
  // out. Vectors, named ones too, come back as they are stored: floats as they were written, not
  // scaled.
  absl::StatusOr<std::vector<Point>> Get(const std::string& collection,
                                         std::span<const PointId> ids, bool with_vectors,
                                         bool with_payload) const;

  // Snapshots, see snapshot.h: any thread; one of them at a time, all else goes on beside it.
  absl::StatusOr<SnapshotInfo> CreateSnapshot(const std::string& name);
  absl::StatusOr<std::vector<SnapshotInfo>> ListSnapshots() const;
  absl::Status DeleteSnapshot(const std::string& name);
  absl::StatusOr<VerifyReport> VerifySnapshot(const std::string& name) const;
  // The same of the store itself, as it is now.
  absl::StatusOr<VerifyReport> Verify();

  // Reads all segment files, compares them with their checksums, and mends what is damaged. It is
  // done once after opening, too, in the background.
  void ScrubNow();
  // Who builds the indexes of segments, to be offered devices.
  IndexMakers& makers() { return makers_; }
  // Tells what the store takes of the disk as metrics. Looks at its directories, so it is nothing
  // to do in a request; one thread at a time.
  void TellUsage();
  // What is free for VectorOptions::memory_reserve_mb, as told every now and then; until then
  // enough.
  void SetMemoryFree(int64_t bytes) { memory_free_ = bytes; }
  // Blocks until nothing is left to seal or merge. For tests and benchmarks.
  void WaitUntilIdle() const;

 private:
  VectorStore(const VectorOptions& options, Metrics& metrics, std::shared_ptr<FileLayer> files);
  absl::Status Recover();
  // Opens the files that the manifest names and puts the damaged ones aside; their names go to
  // `used`. False where not all are there: then rows are dead until they are found among the
  // points.
  absl::StatusOr<bool> RecoverSegments(const StoredCollection& record, Collection& collection,
                                       absl::flat_hash_set<std::string>& used);
  absl::Status ReplayPending(const StoredCollection& record, Collection& collection);
  absl::Status StoreManifest(const StoredCollection& record, const Collection& collection);
  // Writes points again as the database has them: what a damaged file had of them is needed no
  // more.
  absl::Status WriteAgain(const std::string& collection, std::span<const PointId> ids);
  std::vector<WriteResult> CommitLocked(std::vector<Write> writes);
  absl::Status RemoveUnused(const absl::flat_hash_set<std::string>& used);
  using AliasMap = std::map<std::string, std::shared_ptr<Collection>>;
  absl::Status RecoverAliases();
  absl::Status ApplyAction(const AliasAction& action, const std::string& field,
                           AliasMap& aliases) const;
  AliasMap Aliases() const;
  static std::vector<StoredAlias> ToStored(const AliasMap& aliases);
  static CollectionInfo InfoOf(const Collection& collection, const AliasMap& aliases);
  // By its name or an alias; null where there is none.
  std::shared_ptr<Collection> Find(const std::string& name) const;
  std::vector<std::shared_ptr<Collection>> Collections() const;  // by name
  // The same, each with its named vectors: all that has segments.
  std::vector<std::shared_ptr<Collection>> Parts() const;
  absl::Status RecoverPart(const StoredCollection& record, Collection& part,
                           absl::flat_hash_set<std::string>& used);
  absl::Status CheckWrite(const Write& write, const CollectionSpec& spec) const;
  // Stores a collection's indexes and makes them in memory, beside writing. index_mutex_ is held.
  absl::Status ChangeIndexes(const std::string& name,
                             absl::FunctionRef<absl::Status(PayloadIndexes& indexes)> edit,
                             IndexPoll poll);
  absl::Status Reindex(Collection& collection, PayloadIndexes indexes) const;
  // The same from files where there are some; adds their names to `used`.
  absl::Status RecoverIndexes(Collection& collection, PayloadIndexes indexes,
                              absl::flat_hash_set<std::string>& used);
  // Of a collection, or a named vector; payloads are stored under `payloads_id`.
  absl::Status RecoverIndexesOf(Collection& part, uint32_t payloads_id,
                                const std::shared_ptr<const PayloadIndexes>& indexes,
                                absl::flat_hash_set<std::string>& used);
  // Puts the points that a write's filter means in its place.
  absl::Status ResolveFilter(const Collection& collection, Write& write) const;
  // What the patches of a group's writes come to.
  class PatchResolver;
  // Writes that are committed together.
  struct Group;
  static void PlaceNamed(const Collection& collection, Write& write,
                         const std::vector<PatchedPayload>& patched, Group& group);
  std::vector<WriteResult> CommitGroup(std::span<Write> writes);
  // `points`: how many there are at most before the write.
  absl::Status CheckRoom(const Write& write, const Collection& collection, int64_t points) const;
  // The same of partitions. `added`: those that come with writes before it, and then with it, too.
  absl::Status CheckPartitions(const Write& write, const Collection& collection,
                               absl::flat_hash_set<std::string>& added) const;

  const VectorOptions options_;
  const std::shared_ptr<FileLayer> files_;
  Metrics& metrics_;
  prometheus::Counter& points_written_;
  prometheus::Histogram& commit_seconds_;
  std::atomic<int64_t> memory_free_ = std::numeric_limits<int64_t>::max();
  std::set<std::string> usage_told_;  // the collections whose files TellUsage told of
  std::unique_ptr<DirectoryLock> lock_;
  std::unique_ptr<PointDb> db_;

  std::mutex index_mutex_;   // one change of payload indexes at a time; taken before commit_mutex_
  std::mutex commit_mutex_;  // one commit, creation or drop at a time; taken before mutex_
  int64_t points_ = 0;       // of all collections; guarded by commit_mutex_

  mutable std::mutex mutex_;  // guards these two; held only for look-ups
  std::map<std::string, std::shared_ptr<Collection>> collections_;
  AliasMap aliases_;  // changed under commit_mutex_, too

  mutable std::mutex snapshot_mutex_;  // taken before all others
  std::unique_ptr<Snapshots> snapshots_;

  IndexMakers makers_;
  std::unique_ptr<Scrubber> scrubber_;       // reset first: it writes
  std::unique_ptr<SegmentBuilder> builder_;  // destroyed first: it uses the others
};

}  // namespace baton
