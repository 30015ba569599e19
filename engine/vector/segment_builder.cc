#include "engine/vector/segment_builder.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/segment_file.h"

namespace baton {
namespace {

// Searches and token generation come first, but a busy machine must not stop sealing altogether:
// what has no graph makes every search slower.
constexpr int kNice = 5;

struct RowRef {
  PointId id = 0;
  WriteSequence sequence = 0;
  const float* vector = nullptr;     // or null:
  const Segment* segment = nullptr;  // has the vector in this row
  int64_t row = 0;
};

// The rows of a job that are live now. One that dies meanwhile may be there or not: the collection
// marks it when the job is finished.
std::vector<RowRef> LiveRows(const SealJob& job, int32_t dimension) {
  std::vector<RowRef> refs;
  const auto add = [&](const RowBlock& block, int64_t row, WriteSequence sequence,
                       const Segment* segment) {
    if (block.deleted_at[row].load(std::memory_order_relaxed) != kNeverDeleted) return;
    RowRef ref{.id = block.ids[row], .sequence = sequence, .segment = segment, .row = row};
    if (block.vectors != nullptr) ref.vector = block.vectors + row * dimension;
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

SegmentRows CopyRows(const std::vector<RowRef>& refs, int32_t dimension) {
  SegmentRows rows;
  rows.ids.reserve(refs.size());
  rows.sequences.reserve(refs.size());
  rows.vectors.resize(refs.size() * static_cast<size_t>(dimension));
  float* vector = rows.vectors.data();
  for (const RowRef& ref : refs) {
    rows.ids.push_back(ref.id);
    rows.sequences.push_back(ref.sequence);
    if (ref.vector != nullptr) {
      std::copy_n(ref.vector, dimension, vector);
    } else {
      ref.segment->ReadVectors(ref.row, 1, vector);
    }
    vector += dimension;
  }
  return rows;
}

}  // namespace

SegmentBuilder::SegmentBuilder(std::string directory, const PointDb& db, Lister collections)
    : directory_(std::move(directory)),
      db_(db),
      collections_(std::move(collections)),
      thread_([this] { Run(); }) {}

SegmentBuilder::~SegmentBuilder() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void SegmentBuilder::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_all();
}

void SegmentBuilder::WaitUntilIdle() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return idle_ && !woken_; });
}

void SegmentBuilder::Run() {
  setpriority(PRIO_PROCESS, 0, kNice);  // on Linux: of this thread
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return woken_ || stopping_; });
    if (stopping_) return;
    woken_ = false;
    idle_ = false;
    lock.unlock();
    // In turns, so that one busy collection does not keep the others waiting.
    for (bool found = true; found && !stopping_;) {
      found = false;
      for (const std::shared_ptr<Collection>& collection : collections_()) {
        if (!stopping_ && SealOne(*collection)) found = true;
      }
    }
    lock.lock();
    idle_ = true;
    changed_.notify_all();
  }
}

bool SegmentBuilder::SealOne(Collection& collection) {
  const std::optional<SealJob> job = collection.TakeJob();
  if (!job.has_value()) return false;
  std::shared_ptr<Segment> segment;
  if (const absl::Status status = BuildSegment(collection, *job, &segment); !status.ok()) {
    if (!absl::IsCancelled(status)) {
      Log().error("collection {}: cannot seal a segment: {}", collection.spec().name,
                  status.ToString());
    }
    collection.AbandonJob();
    return true;
  }
  const bool has_file = segment == nullptr || WriteFile(collection, *segment);
  if (has_file && segment != nullptr) TakeFromFile(collection, &segment);
  const bool finished = collection.FinishJob(*job, segment);
  if (!finished && segment != nullptr) RemoveFile(collection, segment->number());
  // Without the new file, the old ones still save building at the next start.
  if (finished && has_file) {
    for (const auto& merged : job->segments) RemoveFile(collection, merged->number());
  }
  return true;
}

absl::Status SegmentBuilder::BuildSegment(const Collection& collection, const SealJob& job,
                                          std::shared_ptr<Segment>* segment) const {
  const CollectionSpec& spec = collection.spec();
  SegmentRows rows = CopyRows(LiveRows(job, spec.dimension), spec.dimension);
  if (rows.count() == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(SegmentIndex index, SegmentIndex::Build(spec, GraphRowsOf(spec, rows),
                                                           [this] { return stopping_.load(); }));
  *segment =
      std::make_shared<Segment>(job.number, spec.dimension, std::move(rows), std::move(index));
  return absl::OkStatus();
}

bool SegmentBuilder::WriteFile(const Collection& collection, const Segment& segment) const {
  if (directory_.empty()) return true;
  // The file must not know a write that the database forgets in a crash of the machine: its number
  // would be given to another write.
  absl::Status status = db_.Sync();
  if (status.ok())
    status = WriteSegmentFile(directory_, collection.id(), collection.spec(), segment);
  if (!status.ok()) {
    Log().warn(
        "collection {}: a graph is kept in memory only, and built again at the next start: {}",
        collection.spec().name, status.ToString());
  }
  return status.ok();
}

void SegmentBuilder::TakeFromFile(const Collection& collection,
                                  std::shared_ptr<Segment>* segment) const {
  if (directory_.empty()) return;
  const SegmentFileName name{.collection_id = collection.id(), .number = (*segment)->number()};
  auto read = ReadSegmentFile(directory_, name, collection.spec(), /*live=*/true);
  if (read.ok()) {
    *segment = *std::move(read);
    return;
  }
  Log().warn("collection {}: a segment stays in memory: {}", collection.spec().name,
             read.status().ToString());
}

void SegmentBuilder::RemoveFile(const Collection& collection, uint64_t number) const {
  if (directory_.empty()) return;
  const SegmentFileName name{.collection_id = collection.id(), .number = number};
  unlink(StrCat(directory_, "/", name.ToString()).c_str());
}

}  // namespace baton
