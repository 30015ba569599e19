#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/index_change.h"
#include "engine/vector/payload_sidecar.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment.h"
#include "engine/vector/vector_options.h"

namespace baton {

// What is to become one new segment. Full buffers get no further rows.
struct SealJob {
  uint64_t number = 0;  // of the new segment
  std::vector<CollectionView::BufferPart> buffers;
  std::vector<std::shared_ptr<const Segment>> segments;
  // One of `segments`, whose graph the others' rows are inserted into a copy of; null: none.
  std::shared_ptr<const Segment> seed;
  int64_t rows = 0;  // that are live, when it was taken
};

// A segment's payload indexes that are to be stored.
struct SidecarJob {
  uint64_t number = 0;  // of the new file
  std::shared_ptr<const Segment> segment;
  std::shared_ptr<PayloadSidecar> sidecar;
};

// Points in a growing buffer when it is sealed; where VectorOptions leave it open, so many that a
// scan reads about 2 MiB of codes (nibble_screen.h). More points to a segment are fewer segments to
// walk and fewer merges; of long vectors, whose walks take longer, at least kSealPointsMin. At most
// half of those that may be without a graph.
inline constexpr int64_t kSealPointsMin = 8192;
inline constexpr int64_t kSealPointsMax = 32'768;
int64_t SealPointsFor(const VectorOptions& options, int32_t dimension);

// The state in memory of one collection: a growing buffer, full buffers that wait to be sealed, and
// segments. An id has at most one live row among them all.
//
// Threads: writing and finishing a job change the state under mutex_, which is never held while
// anything is built or read from the disk. Readers take the last published view, behind a mutex of
// its own that is held only to copy a pointer.
class Collection {
 public:
  // `metrics` outlives it.
  Collection(StoredCollection stored, const VectorOptions& options, Metrics& metrics);
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  uint32_t id() const { return stored_.id; }
  const CollectionSpec& spec() const { return stored_.spec; }

  // ---- Named vectors: each a state like this one, of the points that have it

  // Before any other thread knows the collection.
  void AddVector(std::shared_ptr<Collection> vector) { vectors_.push_back(std::move(vector)); }
  std::span<const std::shared_ptr<Collection>> vectors() const { return vectors_; }
  // Null where there is none of that name.
  const Collection* FindVector(const std::string& name) const;

  std::shared_ptr<const CollectionView> View() const;
  CollectionInfo Info() const;
  // Live points without a graph, of the vector that has the most.
  int64_t Unindexed() const;

  // ---- Recovery: before any other thread knows the collection

  // A segment of the manifest, with so many live rows.
  void RecoverSegment(std::shared_ptr<Segment> segment, int64_t live);
  // Numbers of new segments will be larger.
  void ReserveNumber(uint64_t number);
  // A pending write deleted or replaced this point: a row of an earlier write is dead.
  void RecoverDelete(PointId id, WriteSequence sequence);
  // A point as the database has it: live in the segment that has this row, dead there before or
  // not, or appended to the growing buffer. `vector` as stored.
  void RecoverRow(PointId id, WriteSequence sequence, const float* vector);
  // What the manifest is to say of all that: dead rows of all segments, and what is in buffers as
  // writes.
  ManifestChange WholeManifest(std::vector<PendingWrite>* pending) const;
  // Payload indexes from their files, after all rows. `stored`: those that could be read, by the
  // number of their segment; the rest is made of payloads, which `read` hands out for ids, and so
  // are the points of `patched`. Counts the segments that were made anew.
  using PayloadVisitor = absl::FunctionRef<absl::Status(PointId id, const Payload& payload)>;
  using PayloadReader =
      absl::FunctionRef<absl::Status(std::span<const PointId> ids, PayloadVisitor visit)>;
  struct RecoveredSidecar {
    uint64_t number = 0;  // of its file
    WriteSequence sequence = 0;
    std::vector<FieldColumn> columns;
  };
  absl::Status RecoverIndexes(std::shared_ptr<const PayloadIndexes> indexes,
                              absl::flat_hash_map<uint64_t, RecoveredSidecar> stored,
                              std::vector<PointId> patched, PayloadReader read);
  // The same where there are no files: all from `source`, which hands out the payload of every
  // live point. `indexes` null: none.
  using PayloadSource = absl::FunctionRef<absl::Status(PayloadVisitor visit)>;
  absl::Status Reindex(std::shared_ptr<const PayloadIndexes> indexes, PayloadSource source);
  // The rows of a segment; 0: there is no such.
  int64_t RowsOf(uint64_t segment) const;
  // Publishes the first view.
  void FinishRecovery(WriteSequence sequence);

  // ---- Writing: under the store's commit lock

  // How many of the points would be new.
  int64_t CountNew(const std::vector<Point>& points) const;
  // Those of the names that no live point has, each once.
  std::vector<std::string> NewPartitions(std::vector<std::string> names) const;
  int64_t partitions() const;
  // Applies writes of one commit, in order, and makes them visible together. Each is valid, durable
  // and has each id once. Fills the counts of their results. True where there is something
  // to seal or merge now.
  bool Apply(std::span<const PlacedWrite> writes);
  // ---- Other payload indexes (collection_indexes.cc). One change at a time; all but
  // MakeIndexes under the store's commit lock

  // The change begins: views tell of it, and writes from now on are in both indexes. False where a
  // job is being finished: try again. `change` has all writes so far.
  bool BeginIndexes(std::shared_ptr<const IndexChange> change);
  // Makes the coming sidecars of all parts there are, one after the other; neither writing nor
  // searching waits. `poll` is asked every few hundred rows whether to go on.
  using IndexPoll = absl::FunctionRef<absl::Status()>;
  absl::Status MakeIndexes(IndexPoll poll);
  // The coming indexes are those of all views from now on. False where a part lacks them yet, or a
  // job is being finished: make them, and try again.
  bool FinishIndexes();
  // As if the change had never begun.
  void AbandonIndexes();

  // No job is taken or finished from now on. Views stay valid.
  void Drop();

  // ---- Sealing: the builder's threads. Several jobs may be out, over different parts

  // A job of at most `rows_max` rows. Nothing where nothing is to be done; `too_large` says whether
  // there would be, of more rows. Must be followed by FinishJob or AbandonJob.
  std::optional<SealJob> TakeJob(int64_t rows_max, TimeUs now_us, bool* too_large);
  // What the manifest is to be told before FinishJob, with the segment's file, if there is one.
  // The dead rows that it lists may be some more than those at the time. One job of a collection
  // at a time, until it is finished or abandoned.
  ManifestChange PrepareFinish(const SealJob& job, const std::shared_ptr<Segment>& segment,
                               uint32_t file_sum);
  // Before PrepareFinish: makes the coming payload indexes of the job's parts, if some are being
  // made. Until the job is finished or abandoned no change of them begins or ends.
  absl::Status BeginFinish(const SealJob& job, IndexPoll poll);
  // Swaps the job's parts for `segment`, built from their live rows; null where they had none.
  // False where the collection was dropped meanwhile.
  bool FinishJob(const SealJob& job, std::shared_ptr<Segment> segment);
  // Leaves everything as it is and rests until the next write, and for a time at most: twice as
  // long after each failure that no finished job came between, up to a bound.
  void AbandonJob(const SealJob& job, TimeUs now_us);
  // Payload indexes of a segment that are in no file; nothing: none. Until FinishSidecar or
  // AbandonSidecar no job is finished, and no other of these taken.
  std::optional<SidecarJob> TakeSidecar(TimeUs now_us);
  // What of those patches is not in the job's indexes, and not to be told by writes since.
  void DropStored(const SidecarJob& job, std::vector<PatchedPoints>& patched) const;
  // The number of the file that this one replaces; 0: none.
  uint64_t FinishSidecar(const SidecarJob& job);
  void AbandonSidecar(TimeUs now_us);
  // The files of these segments' payload indexes, where they have some.
  std::vector<uint64_t> SidecarsOf(
      const std::vector<std::shared_ptr<const Segment>>& segments) const;
  // When TakeJob should be tried again though nobody wrote: after a job that failed, or to see
  // whether the collection was left alone so long that its segments are merged further.
  // kNoDeadline: never. May have passed.
  TimeUs NextTryUs() const;

 private:
  struct SegmentState {
    std::shared_ptr<Segment> segment;
    int64_t live = 0;
    bool in_job = false;
    bool died = false;          // rows did since the manifest was told of dead ones
    uint64_t sidecar_file = 0;  // the number of its payload indexes' file; 0: none
  };
  struct ActiveJob {
    uint64_t number = 0;
    // Rows of any part that died since, to be marked in the segment it brings.
    std::vector<std::pair<PointId, WriteSequence>> died;
  };

  void ApplyLocked(const PlacedWrite& placed);
  bool ContainsLocked(PointId id) const;
  bool DeleteLocked(PointId id, WriteSequence sequence);
  void AppendLocked(PointId id, WriteSequence sequence, const float* vector,
                    const Payload* payload);
  void PublishLocked(WriteSequence sequence);
  bool HasJobLocked() const;
  bool HasSidecarLocked() const;  // that is in no file
  bool NeedsVacuum(const SegmentState& state) const;
  void BeginJobLocked(SealJob* job);
  std::vector<std::shared_ptr<const Segment>> QuietMergeLocked(int64_t rows_max, TimeUs now_us);
  TimeUs QuietFromUsLocked() const;
  void RestLocked(TimeUs now_us);
  void AddTiersLocked(int64_t rows_max, SealJob* job) const;
  void ForgetIdsLocked(const GrowingBuffer& buffer);
  bool IsInJobLocked(const GrowingBuffer& buffer) const;
  // What is left of the job's marks; it is over.
  ActiveJob EndJobLocked(const SealJob& job);

  // ---- Payload indexes: collection_payloads.cc

  // Of the row where the point is live.
  struct Place {
    const void* part = nullptr;  // a GrowingBuffer or Segment
    int64_t row = 0;
  };
  std::optional<Place> FindLocked(PointId id) const;
  std::shared_ptr<const PayloadSidecar> SidecarLocked(const void* part) const;
  // Counts the live points of a partition: one more, or the one in a row less.
  void AddToPartitionLocked(const Payload& payload);
  void TakeFromPartitionLocked(const Place& place);
  // A row that was just appended.
  void IndexRowLocked(const GrowingBuffer& buffer, int64_t row, WriteSequence sequence,
                      const Payload& payload);
  // False where there is no such point.
  bool PatchLocked(PointId id, WriteSequence sequence, const Payload& payload);
  // Makes columns of what a part has in records, where those are too many.
  // That holds all writes up to `sequence`.
  void FoldLocked(const void* part, WriteSequence sequence);
  // The sidecar of a job's new segment, as of now; patches of its rows are kept from here on, until
  // InstallSidecarLocked. Takes the lock for a moment. Null without payload indexes.
  struct MadeSidecars {
    std::shared_ptr<PayloadSidecar> sidecar;
    std::shared_ptr<PayloadSidecar> coming;  // the same of a change
  };
  MadeSidecars IndexJob(const SealJob& job, const Segment* segment);
  // Puts them in the place of the job's parts.
  void InstallSidecarLocked(const SealJob& job, const Segment* segment, MadeSidecars made);

  // A part's sidecar of a change.
  struct Coming {
    std::shared_ptr<PayloadSidecar> sidecar;
    bool is_made = false;  // it has all rows
  };
  std::shared_ptr<const PayloadSidecar> ComingLocked(const void* part) const;
  // A part of which some rows are in the snapshot of a change alone.
  struct Unmade {
    std::shared_ptr<const IndexChange> change;
    std::shared_ptr<const PayloadSidecar> sidecar;  // null without payload indexes so far
    std::shared_ptr<const PayloadSidecar> coming;
    std::shared_ptr<const Segment> segment;  // one of the two
    std::shared_ptr<const GrowingBuffer> buffer;
    int64_t rows = 0;

    const void* part() const;
  };
  // One of those of `job`, or null: of all.
  std::optional<Unmade> FindUnmadeLocked(const SealJob* job) const;
  absl::Status MakeIndexesOf(const SealJob* job, IndexPoll poll);
  void InstallMade(const Unmade& unmade, std::shared_ptr<PayloadSidecar> made, int64_t records);

  const StoredCollection stored_;
  std::vector<std::shared_ptr<Collection>> vectors_;  // the named ones
  const VectorOptions options_;
  Metrics& metrics_;

  mutable std::mutex mutex_;
  std::vector<std::shared_ptr<GrowingBuffer>> buffers_;  // all full but the last, never empty
  std::vector<const GrowingBuffer*> buffers_in_jobs_;
  absl::flat_hash_map<PointId, GrowingBuffer*> buffer_of_;  // which has the live row of an id
  std::vector<SegmentState> segments_;
  int64_t points_ = 0;
  WriteSequence sequence_ = 0;  // of the last published write
  uint64_t next_number_ = 1;
  std::vector<ActiveJob> jobs_;          // those that are out
  bool resting_ = false;                 // a job failed; the next write tries again, or
  TimeUs rests_until_us_ = kNoDeadline;  // this time does
  WriteSequence quiet_sequence_ = 0;     // sequence_ when a job was last looked for, and
  TimeUs quiet_since_us_ = 0;            // since when it has been that
  TimeUs looked_us_ = 0;                 // when a job was last looked for
  TimeUs rest_us_ = 0;                   // of the last rest; 0: a job was finished since
  bool dropped_ = false;
  std::vector<float> scaled_;                      // scratch of AppendLocked
  std::shared_ptr<const PayloadIndexes> indexes_;  // null: none; then there are no sidecars
  absl::flat_hash_map<const void*, std::shared_ptr<PayloadSidecar>> sidecars_;  // by part
  // While a job is indexed, one at a time: what was patched since.
  struct LoggedPatch {
    PointId id = 0;
    WriteSequence sequence = 0;
    IndexedRow values;
    IndexedRow coming;
  };
  bool log_patches_ = false;
  std::vector<LoggedPatch> patched_;
  std::shared_ptr<const IndexChange> change_;        // null: none; then there is nothing coming
  absl::flat_hash_map<const void*, Coming> coming_;  // by part
  uint64_t finishing_job_ = 0;                       // from BeginFinish on; 0: none
  std::atomic<int64_t> made_rows_ = 0;  // of the change, for those who ask how far it is
  // Live points of each partition, where there is a partition key.
  absl::flat_hash_map<std::string, int64_t> partitions_;
  prometheus::Gauge* points_gauge_ = nullptr;
  prometheus::Gauge* unindexed_gauge_ = nullptr;
  prometheus::Gauge* segments_gauge_ = nullptr;

  std::atomic<int64_t> unindexed_ = 0;

  mutable std::mutex view_mutex_;
  std::shared_ptr<const CollectionView> view_;
};

}  // namespace baton
