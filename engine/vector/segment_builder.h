#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/metrics.h"
#include "engine/vector/collection.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/point_db.h"
#include "engine/vector/segment_index.h"
#include "engine/vector/vector_options.h"

namespace baton {

// Seals full buffers of all collections into segments and merges segments, on threads of its own.
// The memory of a job is reserved before it begins; where there is not enough, jobs are smaller, or
// rows stay without a graph. Errors are logged; what could not be sealed stays searchable, exactly,
// and is tried again with the next write or after a time, which grows.
class SegmentBuilder {
 public:
  using Lister = std::function<std::vector<std::shared_ptr<Collection>>()>;

  // Files go to `directory`; none are written where it is empty. `db`, `makers`, `metrics` and
  // `clock`, which says when what failed is tried again, outlive the builder.
  SegmentBuilder(const VectorOptions& options, std::string directory,
                 std::shared_ptr<FileLayer> files, PointDb& db, IndexMakers& makers,
                 Metrics& metrics, const Clock& clock, Lister collections);
  // Abandons what is being built.
  ~SegmentBuilder();
  SegmentBuilder(const SegmentBuilder&) = delete;
  SegmentBuilder& operator=(const SegmentBuilder&) = delete;

  // There may be work. Never blocks.
  void Wake();
  // While it lives, no segment file that the manifest names or named is removed.
  std::unique_lock<std::mutex> KeepFiles() { return std::unique_lock(files_mutex_); }
  // Blocks until all work known now is done, but for what rests after a failure. Any thread but the
  // builder's own.
  void WaitUntilIdle();

 private:
  void Run(size_t thread);
  // The earliest time at which what failed is to be tried again; kNoDeadline: nothing.
  TimeUs NextTryUs() const;
  // True where there was a job.
  bool SealOne(Collection& collection);
  // A job whose memory is reserved.
  std::optional<SealJob> TakeJob(Collection& collection, int64_t* bytes);
  void GiveBack(int64_t bytes);
  absl::Status BuildSegment(const Collection& collection, const SealJob& job,
                            std::shared_ptr<Segment>* segment) const;
  // Writes the segment's file, if there is a segment and are to be files; the segment is then read
  // from there, which leaves its vectors to the page cache. SegmentFile::sum.
  absl::StatusOr<uint32_t> TakeToFile(const Collection& collection,
                                      std::shared_ptr<Segment>* segment) const;
  // Has the manifest name the file and the collection search the segment. Collection::FinishJob.
  absl::StatusOr<bool> Finish(Collection& collection, const SealJob& job,
                              const std::shared_ptr<Segment>& segment, uint32_t file_sum);
  // Writes payload indexes that are in no file yet to one, and has the manifest name it. True where
  // there were some.
  bool StoreSidecar(Collection& collection);
  absl::Status StoreSidecar(Collection& collection, const SidecarJob& job);
  void RemoveFile(const Collection& collection, uint64_t number) const;
  void RemoveSidecar(const Collection& collection, uint64_t number) const;

  const VectorOptions options_;
  const std::string directory_;
  const std::shared_ptr<FileLayer> files_;
  PointDb& db_;
  IndexMakers& makers_;
  const Clock& clock_;
  const Lister collections_;
  std::atomic<bool> stopping_ = false;

  std::mutex finish_mutex_;  // held from what the manifest is told of a job until it is finished
  mutable std::mutex files_mutex_;  // held to remove files; no other is taken under it

  prometheus::Counter& seals_;
  prometheus::Counter& merges_;
  prometheus::Counter& short_of_memory_;

  std::mutex memory_mutex_;  // taken before a collection's
  int64_t free_bytes_;
  bool said_short_ = false;

  std::mutex mutex_;
  std::condition_variable changed_;
  uint64_t wakes_ = 1;
  std::vector<uint64_t> seen_;  // [threads]: the wakes_ after which a thread found nothing to do
  std::vector<std::thread> threads_;  // last: they use the others
};

}  // namespace baton
