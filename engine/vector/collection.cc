#include "engine/vector/collection.h"

#include <algorithm>

#include "engine/base/check.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"

namespace baton {
namespace {

// Full buffers sealed by one job at most. More would leave the rest without a graph for longer,
// fewer would merge more often.
constexpr size_t kJobBuffersMax = 16;

// Segments are merged when this many, with the new one, are of a kind: a point is built into a
// graph about log4(points / seal_points) times, and a search sees at most 3 segments of each size.
constexpr size_t kMergeSegments = 4;

// Merging drops the dead rows of a segment that has more of them than live ones.
bool MostlyDead(int64_t live, int64_t rows) { return live * 2 < rows; }

}  // namespace

Collection::Collection(StoredCollection stored, const VectorOptions& options, Metrics& metrics)
    : stored_(std::move(stored)),
      options_(options),
      metrics_(metrics),
      points_gauge_(&metrics.Gauge(MetricId::kPoints, {stored_.spec.name})),
      unindexed_gauge_(&metrics.Gauge(MetricId::kPointsUnindexed, {stored_.spec.name})) {
  buffers_.push_back(std::make_shared<GrowingBuffer>(spec().dimension, options_.seal_points));
  PublishLocked(0);
}

std::shared_ptr<const CollectionView> Collection::View() const {
  const std::lock_guard lock(view_mutex_);
  return view_;
}

CollectionInfo Collection::Info() const {
  const std::shared_ptr<const CollectionView> view = View();
  CollectionInfo info{.spec = spec(),
                      .points = view->points(),
                      .points_unindexed = view->points(),
                      .segments = static_cast<int32_t>(view->segments().size()),
                      .embedder = stored_.embedder};
  if (view->indexes() != nullptr) info.payload_indexes = *view->indexes();
  for (const CollectionView::SegmentPart& part : view->segments()) {
    info.points_unindexed -= part.live;
  }
  return info;
}

void Collection::RecoverSegment(std::shared_ptr<Segment> segment) {
  ReserveNumber(segment->number());
  segments_.push_back({.segment = std::move(segment)});
}

void Collection::ReserveNumber(uint64_t number) {
  next_number_ = std::max(next_number_, number + 1);
}

void Collection::RecoverRow(PointId id, WriteSequence sequence, const float* vector) {
  for (auto state = segments_.rbegin(); state != segments_.rend(); ++state) {
    const std::optional<int64_t> row = state->segment->Find(id);
    // The same id by another write is another version of the point: that row stays dead.
    if (row.has_value() && state->segment->data().sequences[*row] == sequence) {
      state->segment->Revive(*row);
      ++state->live;
      ++points_;
      return;
    }
  }
  AppendLocked(id, sequence, vector, nullptr);
}

std::vector<uint64_t> Collection::FinishRecovery(WriteSequence sequence) {
  std::vector<uint64_t> useless;
  for (const SegmentState& state : segments_) {
    if (state.live == 0) useless.push_back(state.segment->number());
  }
  std::erase_if(segments_, [](const SegmentState& state) { return state.live == 0; });
  PublishLocked(sequence);
  return useless;
}

int64_t Collection::CountNew(const std::vector<Point>& points) const {
  const std::lock_guard lock(mutex_);
  return std::count_if(points.begin(), points.end(),
                       [this](const Point& point) { return !ContainsLocked(point.id); });
}

bool Collection::Apply(std::span<const PlacedWrite> writes) {
  // One critical section: whatever the builder publishes meanwhile has none or all of it.
  const std::lock_guard lock(mutex_);
  for (const PlacedWrite& placed : writes) ApplyLocked(placed);
  resting_ = false;
  PublishLocked(writes.back().sequence);
  return HasJobLocked();
}

void Collection::ApplyLocked(const PlacedWrite& placed) {
  for (const PointId id : placed.write->deletes) {
    if (DeleteLocked(id, placed.sequence)) ++placed.result->deleted;
  }
  for (const Point& point : placed.write->upserts) {
    DeleteLocked(point.id, placed.sequence);
    AppendLocked(point.id, placed.sequence, point.vector.data(), &point.payload);
    ++placed.result->upserted;
  }
  for (const PatchedPayload& patched : placed.patched) {
    if (PatchLocked(patched.id, placed.sequence, patched.payload)) ++placed.result->patched;
  }
}

void Collection::Drop() {
  const std::lock_guard lock(mutex_);
  dropped_ = true;
  metrics_.RemoveGauge(MetricId::kPoints, {spec().name});
  metrics_.RemoveGauge(MetricId::kPointsUnindexed, {spec().name});
}

bool Collection::HasJobLocked() const {
  if (building_ || resting_ || dropped_) return false;
  return buffers_.size() > 1 ||
         std::any_of(segments_.begin(), segments_.end(), [](const SegmentState& state) {
           return MostlyDead(state.live, state.segment->rows());
         });
}

std::optional<SealJob> Collection::TakeJob() {
  const std::lock_guard lock(mutex_);
  if (!HasJobLocked()) return std::nullopt;
  SealJob job{.number = next_number_++};
  int64_t rows = 0;
  for (size_t i = 0; i + 1 < buffers_.size() && i < kJobBuffersMax; ++i) {
    job.buffers.push_back({.buffer = buffers_[i], .rows = buffers_[i]->rows()});
    rows += buffers_[i]->live();
  }
  std::vector<const SegmentState*> others;
  for (const SegmentState& state : segments_) {
    if (MostlyDead(state.live, state.segment->rows())) {
      job.segments.push_back(state.segment);
      rows += state.live;
    } else {
      others.push_back(&state);
    }
  }
  std::sort(others.begin(), others.end(),
            [](const SegmentState* a, const SegmentState* b) { return a->live < b->live; });
  // Merge all segments that are no larger than what there is so far, if there are enough of them;
  // and again, since there is more now.
  for (size_t first = 0;;) {
    int64_t merged_rows = rows;
    size_t end = first;
    while (end < others.size() && others[end]->live <= rows) merged_rows += others[end++]->live;
    if (end - first < kMergeSegments - 1 || merged_rows > options_.segment_points_max) break;
    for (; first < end; ++first) job.segments.push_back(others[first]->segment);
    rows = merged_rows;
  }
  building_ = true;
  return job;
}

bool Collection::FinishJob(const SealJob& job, std::shared_ptr<Segment> segment) {
  std::shared_ptr<PayloadSidecar> sidecar = IndexJob(job, segment.get());
  const std::lock_guard lock(mutex_);
  building_ = false;
  if (dropped_) return false;
  const auto in_job = [&job](const auto& part) {
    return std::any_of(job.segments.begin(), job.segments.end(),
                       [&part](const auto& merged) { return merged == part.segment; });
  };
  std::erase_if(segments_, in_job);
  // The job's buffers are the oldest, and only this takes any away.
  buffers_.erase(buffers_.begin(), buffers_.begin() + static_cast<int64_t>(job.buffers.size()));
  InstallSidecarLocked(job, segment.get(), std::move(sidecar));
  if (segment != nullptr) {
    int64_t live = segment->rows();
    for (const auto& [id, sequence] : died_) live -= segment->Delete(id, sequence) ? 1 : 0;
    segments_.push_back({.segment = std::move(segment), .live = live});
  }
  died_ = {};
  PublishLocked(sequence_);
  return true;
}

void Collection::AbandonJob() {
  const std::lock_guard lock(mutex_);
  building_ = false;
  resting_ = true;
  died_ = {};
}

bool Collection::ContainsLocked(PointId id) const {
  return std::any_of(buffers_.begin(), buffers_.end(),
                     [id](const auto& buffer) { return buffer->Contains(id); }) ||
         std::any_of(segments_.begin(), segments_.end(),
                     [id](const auto& state) { return state.segment->Contains(id); });
}

bool Collection::DeleteLocked(PointId id, WriteSequence sequence) {
  bool deleted = false;
  for (const auto& buffer : buffers_) {
    deleted = buffer->Delete(id, sequence);
    if (deleted) break;
  }
  for (SegmentState& state : segments_) {
    if (deleted) break;
    deleted = state.segment->Delete(id, sequence);
    if (deleted) --state.live;
  }
  if (!deleted) return false;
  --points_;
  if (building_) died_.emplace_back(id, sequence);
  return true;
}

void Collection::AppendLocked(PointId id, WriteSequence sequence, const float* vector,
                              const Payload* payload) {
  if (spec().metric == Metric::kCosine) {
    scaled_.assign(vector, vector + spec().dimension);
    Normalize(scaled_.data(), spec().dimension);
    vector = scaled_.data();
  }
  if (payload != nullptr) {
    IndexRowLocked(*buffers_.back(), buffers_.back()->rows(), sequence, *payload);
  }
  buffers_.back()->Append(id, vector, sequence);
  ++points_;
  if (buffers_.back()->full()) {
    buffers_.push_back(std::make_shared<GrowingBuffer>(spec().dimension, options_.seal_points));
  }
}

void Collection::PublishLocked(WriteSequence sequence) {
  sequence_ = sequence;
  std::vector<CollectionView::BufferPart> buffers;
  for (const auto& buffer : buffers_) {
    if (buffer->live() == 0) continue;
    buffers.push_back(
        {.buffer = buffer, .rows = buffer->rows(), .payloads = SidecarLocked(buffer.get())});
  }
  std::vector<CollectionView::SegmentPart> segments;
  int64_t unindexed = points_;
  for (const SegmentState& state : segments_) {
    if (state.live > 0) {
      segments.push_back({.segment = state.segment,
                          .live = state.live,
                          .payloads = SidecarLocked(state.segment.get())});
    }
    unindexed -= state.live;
  }
  auto view = std::make_shared<const CollectionView>(spec(), sequence, points_, std::move(buffers),
                                                     std::move(segments), indexes_);
  points_gauge_->Set(static_cast<double>(points_));
  unindexed_gauge_->Set(static_cast<double>(unindexed));
  const std::lock_guard lock(view_mutex_);
  view_.swap(view);  // the old one is destroyed after the lock is released
}

}  // namespace baton
