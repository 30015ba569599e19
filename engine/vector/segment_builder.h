#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "engine/vector/collection.h"
#include "engine/vector/file_layer.h"
#include "engine/vector/point_db.h"

namespace baton {

// Seals full buffers of all collections into segments and merges segments, on one thread of its own
// at low priority. Errors are logged; what could not be sealed stays searchable, exactly.
class SegmentBuilder {
 public:
  using Lister = std::function<std::vector<std::shared_ptr<Collection>>()>;

  // Files go to `directory`; none are written where it is empty. `db` outlives the builder.
  SegmentBuilder(std::string directory, std::shared_ptr<FileLayer> files, PointDb& db,
                 Lister collections);
  // Abandons what is being built.
  ~SegmentBuilder();
  SegmentBuilder(const SegmentBuilder&) = delete;
  SegmentBuilder& operator=(const SegmentBuilder&) = delete;

  // There may be work. Never blocks.
  void Wake();
  // While it lives, no segment file that the manifest names or named is removed.
  std::unique_lock<std::mutex> KeepFiles() { return std::unique_lock(files_mutex_); }
  // Blocks until all work known now is done. Any thread but the builder's.
  void WaitUntilIdle();

 private:
  void Run();
  // True where there was a job.
  bool SealOne(Collection& collection);
  absl::Status BuildSegment(const Collection& collection, const SealJob& job,
                            std::shared_ptr<Segment>* segment) const;
  // Writes the segment's file and has the manifest name it; the segment is then read from there,
  // which leaves its vectors to the page cache.
  absl::Status Store(Collection& collection, const SealJob& job,
                     std::shared_ptr<Segment>* segment) const;
  void RemoveFile(const Collection& collection, uint64_t number) const;

  const std::string directory_;
  const std::shared_ptr<FileLayer> files_;
  PointDb& db_;
  const Lister collections_;
  std::atomic<bool> stopping_ = false;

  mutable std::mutex files_mutex_;  // held to remove files; no other is taken under it
  std::mutex mutex_;
  std::condition_variable changed_;
  bool woken_ = false;
  bool idle_ = true;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
