#include "engine/vector/segment_builder.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"
#include "engine/vector/durable_file.h"
#include "engine/vector/segment_file.h"
#include "engine/vector/sidecar_file.h"
#include "engine/vector/vector_checks.h"

namespace baton {
namespace {

// While something rests, the clock is looked at so often: it need not be the system's.
constexpr std::chrono::milliseconds kLook(100);

struct RowRef {
  PointId id = 0;
  WriteSequence sequence = 0;
  const std::byte* vector = nullptr;  // as it is stored, or null:
  const Segment* segment = nullptr;   // has the vector in this row
  int64_t row = 0;
};

// The rows of a job that are live now. One that dies meanwhile may be there or not: the collection
// marks it when the job is finished.
std::vector<RowRef> LiveRows(const SealJob& job) {
  std::vector<RowRef> refs;
  const auto add = [&](const RowBlock& block, int64_t row, WriteSequence sequence,
                       const Segment* segment) {
    if (block.deleted_at[row].load(std::memory_order_relaxed) != kNeverDeleted) return;
    RowRef ref{.id = block.ids[row], .sequence = sequence, .segment = segment, .row = row};
    if (block.vectors.bytes != nullptr) ref.vector = block.vectors.At(row);
    refs.push_back(ref);
  };
  for (const CollectionView::BufferPart& part : job.buffers) {
    for (int64_t first = 0; first < part.rows;) {
      const RowBlock block = part.buffer->Block(first, part.rows);
      for (int64_t row = 0; row < block.count; ++row) {
        add(block, row, part.buffer->SequenceOf(first + row), nullptr);
      }
      first += block.count;
    }
  }
  for (const auto& segment : job.segments) {
    const RowBlock block = segment->Block(0, segment->rows());
    for (int64_t row = 0; row < block.count; ++row) {
      add(block, row, segment->data().sequences[row], segment.get());
    }
  }
  std::sort(refs.begin(), refs.end(), [](const RowRef& a, const RowRef& b) { return a.id < b.id; });
  return refs;
}

SegmentRows CopyRows(const std::vector<RowRef>& refs, const VectorFormat& format) {
  const int32_t dimension = format.dimension();
  SegmentRows rows;
  if (format.storage() != VectorStorage::kF32) {
    rows.stored.resize(refs.size() * static_cast<size_t>(format.row_bytes()));
  }
  std::byte* stored = rows.stored.data();
  rows.ids.reserve(refs.size());
  rows.sequences.reserve(refs.size());
  rows.vectors.resize(refs.size() * static_cast<size_t>(dimension));
  float* vector = rows.vectors.data();
  for (const RowRef& ref : refs) {
    rows.ids.push_back(ref.id);
    rows.sequences.push_back(ref.sequence);
    if (ref.vector != nullptr) {
      format.Decode(ref.vector, 1, vector);
    } else {
      ref.segment->ReadVectors(ref.row, 1, vector);
    }
    if (stored != nullptr) {
      format.Encode(vector, stored);
      stored += format.row_bytes();
    }
    vector += dimension;
  }
  return rows;
}

// Where the rows of the job's seed are.
GraphSeed SeedOf(const SealJob& job, const SegmentRows& rows) {
  if (job.seed == nullptr || job.seed->index().graph() == nullptr) return {};
  GraphSeed seed{.graph = job.seed->index().graph(), .rows = {}};
  const PointIds ids = job.seed->data().ids;  // ascending, as those of `rows`
  seed.rows.reserve(static_cast<size_t>(ids.size()));
  size_t at = 0;
  for (int64_t row = 0; row < ids.size(); ++row) {
    while (at < rows.ids.size() && rows.ids[at] < ids[row]) ++at;
    // The same id by another write is another version of the point.
    const bool is_there =
        at < rows.ids.size() && rows.ids[at] == ids[row] &&
        rows.sequences[at] == job.seed->data().sequences[static_cast<size_t>(row)];
    seed.rows.push_back(is_there ? static_cast<int64_t>(at) : -1);
  }
  return seed;
}

}  // namespace

SegmentBuilder::SegmentBuilder(const VectorOptions& options, std::string directory,
                               std::shared_ptr<FileLayer> files, PointDb& db, IndexMakers& makers,
                               Metrics& metrics, const Clock& clock, Lister collections)
    : options_(options),
      directory_(std::move(directory)),
      files_(std::move(files)),
      db_(db),
      makers_(makers),
      clock_(clock),
      collections_(std::move(collections)),
      seals_(metrics.Counter(MetricId::kSegmentsBuilt, {"seal"})),
      merges_(metrics.Counter(MetricId::kSegmentsBuilt, {"merge"})),
      short_of_memory_(metrics.Counter(MetricId::kBuildsShortOfMemory)),
      free_bytes_(options.build_memory_mb << 20),
      seen_(static_cast<size_t>(options.build_threads)) {
  for (size_t i = 0; i < seen_.size(); ++i) threads_.emplace_back([this, i] { Run(i); });
}

SegmentBuilder::~SegmentBuilder() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void SegmentBuilder::Wake() {
  {
    const std::lock_guard lock(mutex_);
    ++wakes_;
  }
  changed_.notify_all();
}

void SegmentBuilder::WaitUntilIdle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] {
    return std::all_of(seen_.begin(), seen_.end(), [this](uint64_t s) { return s == wakes_; });
  });
}

void SegmentBuilder::Run(size_t thread) {
  NameThread("build", static_cast<int>(thread));
  // A busy machine must not stop building altogether, as SCHED_IDLE would: what has no graph makes
  // every search slower. On Linux this is of this thread alone.
  setpriority(PRIO_PROCESS, 0, static_cast<int>(options_.build_nice));
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const uint64_t wakes = wakes_;
    lock.unlock();
    // In turns, so that one busy collection does not keep the others waiting.
    for (bool found = true; found && !stopping_;) {
      found = false;
      for (const std::shared_ptr<Collection>& collection : collections_()) {
        if (!stopping_ && SealOne(*collection)) found = true;
        if (!stopping_ && StoreSidecar(*collection)) found = true;
      }
    }
    const TimeUs next_try_us = NextTryUs();
    lock.lock();
    seen_[thread] = wakes;
    changed_.notify_all();
    const auto is_woken = [this, wakes] { return wakes_ != wakes || stopping_; };
    if (next_try_us == kNoDeadline) {
      changed_.wait(lock, is_woken);
      continue;
    }
    while (!is_woken() && clock_.NowUs() < next_try_us) changed_.wait_for(lock, kLook, is_woken);
    if (!is_woken()) ++wakes_;  // it is work that WaitUntilIdle waits for, from now on
  }
}

TimeUs SegmentBuilder::NextTryUs() const {
  TimeUs next_us = kNoDeadline;
  for (const std::shared_ptr<Collection>& collection : collections_()) {
    next_us = std::min(next_us, collection->NextTryUs());
  }
  return next_us;
}

std::optional<SealJob> SegmentBuilder::TakeJob(Collection& collection, int64_t* bytes) {
  const int64_t row_bytes = SealedGraph::BuildBytesPerRow(collection.spec());
  const std::lock_guard lock(memory_mutex_);
  bool too_large = false;
  std::optional<SealJob> job =
      collection.TakeJob(free_bytes_ / row_bytes, clock_.NowUs(), &too_large);
  if (job.has_value()) {
    *bytes = job->rows * row_bytes;
    free_bytes_ -= *bytes;
  } else if (too_large) {
    short_of_memory_.Increment();
    // With other jobs done, there may be enough.
    const bool is_all = free_bytes_ == options_.build_memory_mb << 20;
    if (is_all && !std::exchange(said_short_, true)) {
      Log().warn(
          "collection {}: points stay without a graph: a row takes {} bytes while it is built, and "
          "vector.build_memory_mb is {}",
          FullName(collection.spec()), row_bytes, options_.build_memory_mb);
    }
  }
  return job;
}

void SegmentBuilder::GiveBack(int64_t bytes) {
  const std::lock_guard lock(memory_mutex_);
  free_bytes_ += bytes;
}

bool SegmentBuilder::SealOne(Collection& collection) {
  int64_t bytes = 0;
  const std::optional<SealJob> job = TakeJob(collection, &bytes);
  if (!job.has_value()) return false;
  std::shared_ptr<Segment> segment;
  if (const absl::Status status = BuildSegment(collection, *job, &segment); !status.ok()) {
    if (!absl::IsCancelled(status)) {
      Log().error("collection {}: cannot seal a segment: {}", FullName(collection.spec()),
                  status.ToString());
    }
    collection.AbandonJob(*job, clock_.NowUs());
    GiveBack(bytes);
    return true;
  }
  const absl::StatusOr<uint32_t> file_sum = TakeToFile(collection, &segment);
  const absl::StatusOr<bool> finished = file_sum.ok() ? Finish(collection, *job, segment, *file_sum)
                                                      : absl::StatusOr<bool>(file_sum.status());
  if (!finished.ok()) {
    const absl::Status& status = finished.status();
    if (!absl::IsNotFound(status) && !absl::IsCancelled(status)) {
      Log().warn(
          "collection {}: cannot store a segment, what it would hold is searched exactly: {}",
          FullName(collection.spec()), status.ToString());
    }
    // One that could not be named stays: after a crash the manifest may turn out to name it.
    if (absl::IsNotFound(status) && segment != nullptr) RemoveFile(collection, job->number);
    collection.AbandonJob(*job, clock_.NowUs());
    GiveBack(bytes);
    return true;
  }
  GiveBack(bytes);
  (job->segments.empty() ? seals_ : merges_).Increment();
  if (!*finished && segment != nullptr) RemoveFile(collection, segment->number());
  for (const auto& merged : job->segments) RemoveFile(collection, merged->number());
  // Other threads may have found no memory, or nothing to merge.
  if (seen_.size() > 1) Wake();
  return true;
}

absl::StatusOr<uint32_t> SegmentBuilder::TakeToFile(const Collection& collection,
                                                    std::shared_ptr<Segment>* segment) const {
  if (directory_.empty() || *segment == nullptr) return 0;
  const SegmentFileName name{.collection_id = collection.id(), .number = (*segment)->number()};
  ASSIGN_OR_RETURN(const uint32_t sum, WriteSegmentFile(*files_, directory_, collection.id(),
                                                        collection.spec(), **segment));
  ASSIGN_OR_RETURN(SegmentFile file, ReadSegmentFile(directory_, name, collection.spec(), true));
  file.segment->set_recall((*segment)->recall());
  *segment = std::move(file.segment);
  return sum;
}

absl::StatusOr<bool> SegmentBuilder::Finish(Collection& collection, const SealJob& job,
                                            const std::shared_ptr<Segment>& segment,
                                            uint32_t file_sum) {
  const std::lock_guard lock(finish_mutex_);
  RETURN_IF_ERROR(collection.BeginFinish(
      job, [this] { return stopping_ ? absl::CancelledError("closing") : absl::OkStatus(); }));
  const std::vector<uint64_t> sidecars = collection.SidecarsOf(job.segments);
  if (!directory_.empty()) {
    // The file and its name are on the disk: now the manifest may name it.
    RETURN_IF_ERROR(
        db_.ChangeManifest(collection.id(), collection.PrepareFinish(job, segment, file_sum)));
  }
  const bool finished = collection.FinishJob(job, segment);
  if (!directory_.empty()) {
    for (const uint64_t number : sidecars) RemoveSidecar(collection, number);
  }
  return finished;
}

bool SegmentBuilder::StoreSidecar(Collection& collection) {
  if (directory_.empty()) return false;
  const std::lock_guard lock(finish_mutex_);
  const std::optional<SidecarJob> job = collection.TakeSidecar(clock_.NowUs());
  if (!job.has_value()) return false;
  if (const absl::Status status = StoreSidecar(collection, *job); !status.ok()) {
    if (!absl::IsNotFound(status)) {
      Log().warn(
          "collection {}: cannot store payload indexes, a restart would make them of the points: "
          "{}",
          FullName(collection.spec()), status.ToString());
    }
    if (absl::IsNotFound(status)) RemoveSidecar(collection, job->number);  // it was dropped
    collection.AbandonSidecar(clock_.NowUs());
    return true;
  }
  const uint64_t replaced = collection.FinishSidecar(*job);
  if (replaced != 0) RemoveSidecar(collection, replaced);
  return true;
}

absl::Status SegmentBuilder::StoreSidecar(Collection& collection, const SidecarJob& job) {
  ASSIGN_OR_RETURN(const uint32_t sum,
                   WriteSidecarFile(*files_, directory_,
                                    {.collection_id = collection.id(), .number = job.number},
                                    job.segment->number(), *job.sidecar));
  ManifestChange change;
  change.sidecars.push_back(
      {.segment = job.segment->number(), .number = job.number, .file_sum = sum});
  ASSIGN_OR_RETURN(const std::vector<PatchedPoints> before,
                   db_.Patched(collection.id(), job.sidecar->sequence()));
  std::vector<PatchedPoints> left = before;
  collection.DropStored(job, left);
  for (size_t i = 0; i < left.size(); ++i) {
    if (left[i].ids.size() < before[i].ids.size()) change.patched.push_back(std::move(left[i]));
  }
  return db_.ChangeManifest(collection.id(), change);
}

absl::Status SegmentBuilder::BuildSegment(const Collection& collection, const SealJob& job,
                                          std::shared_ptr<Segment>* segment) const {
  const CollectionSpec& spec = collection.spec();
  const VectorFormat format = FormatOf(spec);
  SegmentRows rows = CopyRows(LiveRows(job), format);
  // A new file must not get what an old one does not tell any more.
  for (const auto& merged : job.segments) {
    if (!merged->has_file() || directory_.empty()) continue;
    const SegmentFileName name{.collection_id = collection.id(), .number = merged->number()};
    absl::Status status = VerifySegmentFile(directory_, name, [this] {
      return stopping_ ? absl::CancelledError("closing") : absl::OkStatus();
    });
    if (status.ok() && merged->unreadable()) status = absl::DataLossError("it cannot be read");
    if (status.ok()) continue;
    if (!absl::IsCancelled(status)) merged->MarkDamaged();
    return status;
  }
  if (rows.count() == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(SegmentIndex index,
                   SegmentIndex::Build(spec, GraphRowsOf(spec, rows), SeedOf(job, rows), makers_,
                                       [this] { return stopping_.load(); }));
  *segment = std::make_shared<Segment>(job.number, format, std::move(rows), std::move(index));
  ASSIGN_OR_RETURN(const RecallCurve recall,
                   RecallCurve::Measure(spec, **segment, [this] { return stopping_.load(); }));
  (*segment)->set_recall(recall);
  return absl::OkStatus();
}

void SegmentBuilder::RemoveSidecar(const Collection& collection, uint64_t number) const {
  const SidecarFileName name{.collection_id = collection.id(), .number = number};
  const std::lock_guard lock(files_mutex_);
  baton::RemoveFile(*files_, StrCat(directory_, "/", name.ToString())).IgnoreError();
}

void SegmentBuilder::RemoveFile(const Collection& collection, uint64_t number) const {
  if (directory_.empty()) return;
  const SegmentFileName name{.collection_id = collection.id(), .number = number};
  // What stays is removed at the next start.
  const std::lock_guard lock(files_mutex_);
  baton::RemoveFile(*files_, StrCat(directory_, "/", name.ToString())).IgnoreError();
}

}  // namespace baton
