#include "engine/vector/collection.h"

#include <algorithm>
#include <map>

#include "engine/base/check.h"
#include "engine/vector/dead_rows.h"
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

// A graph is taken over where no more than this of its rows is deleted, since what is left is
// linked the worse for it; and where it is this much of the new one: else little is saved.
constexpr int64_t kSeedDeletedPercentMax = 30;
constexpr int64_t kSeedPercentMin = 10;

// Segments are merged while nobody writes where the largest becomes larger by a fourth of itself at
// least: a point is copied few times however often a collection is quiet.
constexpr int64_t kQuietGrowth = 4;

// The rests after jobs that failed. A job is seconds of work, which a failing disk should not cost
// all the time; and a disk that works again should not wait longer than whoever looks at it.
constexpr TimeUs kRestUsMin = 1'000'000;
constexpr TimeUs kRestUsMax = 60'000'000;

// Of a growing buffer that is sealed by its dimension.
constexpr int64_t kSealValues = 128 * kSealPointsMax;

VectorOptions WithSealPoints(VectorOptions options, int32_t dimension) {
  options.seal_points = SealPointsFor(options, dimension);
  return options;
}

}  // namespace

int64_t SealPointsFor(const VectorOptions& options, int32_t dimension) {
  if (options.seal_points > 0) return options.seal_points;
  // A full buffer has no graph yet, and another one grows beside it.
  return std::min(std::clamp(kSealValues / std::max(dimension, 1), kSealPointsMin, kSealPointsMax),
                  options.unindexed_points_max / 2);
}

Collection::Collection(StoredCollection stored, const VectorOptions& options, Metrics& metrics)
    : stored_(std::move(stored)),
      options_(WithSealPoints(options, stored_.spec.dimension)),
      metrics_(metrics),
      points_gauge_(&metrics.Gauge(MetricId::kPoints, {FullName(stored_.spec)})),
      unindexed_gauge_(&metrics.Gauge(MetricId::kPointsUnindexed, {FullName(stored_.spec)})),
      segments_gauge_(&metrics.Gauge(MetricId::kSegments, {FullName(stored_.spec)})) {
  buffers_.push_back(std::make_shared<GrowingBuffer>(FormatOf(spec()), options_.seal_points));
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
  if (const auto& change = view->change(); change != nullptr) {
    for (size_t field = 0; field < change->from.size(); ++field) {
      if (change->from[field] != IndexChange::kNew) continue;
      info.coming_indexes.push_back(
          {.index = (*change->indexes)[field],
           .points_done = std::min(made_rows_.load(std::memory_order_relaxed), view->points())});
    }
  }
  for (const CollectionView::SegmentPart& part : view->segments()) {
    info.points_unindexed -= part.live;
  }
  for (const auto& vector : vectors_) {
    const CollectionInfo of_vector = vector->Info();
    info.vectors.push_back({.name = vector->spec().vector_name,
                            .points = of_vector.points,
                            .points_unindexed = of_vector.points_unindexed,
                            .segments = of_vector.segments});
  }
  return info;
}

const Collection* Collection::FindVector(const std::string& name) const {
  const auto found = std::find_if(vectors_.begin(), vectors_.end(), [&name](const auto& vector) {
    return vector->spec().vector_name == name;
  });
  return found == vectors_.end() ? nullptr : found->get();
}

int64_t Collection::Unindexed() const {
  int64_t unindexed = unindexed_.load(std::memory_order_relaxed);
  for (const auto& vector : vectors_) unindexed = std::max(unindexed, vector->Unindexed());
  return unindexed;
}

void Collection::RecoverSegment(std::shared_ptr<Segment> segment, int64_t live) {
  ReserveNumber(segment->number());
  segments_.push_back({.segment = std::move(segment), .live = live});
  points_ += live;
}

void Collection::ReserveNumber(uint64_t number) {
  next_number_ = std::max(next_number_, number + 1);
}

void Collection::RecoverDelete(PointId id, WriteSequence sequence) {
  for (SegmentState& state : segments_) {
    const std::optional<int64_t> row = state.segment->Find(id);
    if (!row.has_value() || !state.segment->IsLive(*row)) continue;
    if (state.segment->data().sequences[*row] >= sequence) continue;
    state.segment->Kill(*row);
    state.died = true;
    --state.live;
    --points_;
  }
}

void Collection::RecoverRow(PointId id, WriteSequence sequence, const float* vector) {
  for (auto state = segments_.rbegin(); state != segments_.rend(); ++state) {
    const std::optional<int64_t> row = state->segment->Find(id);
    // The same id by another write is another version of the point: that row stays dead.
    if (row.has_value() && state->segment->data().sequences[*row] == sequence) {
      if (state->segment->IsLive(*row)) return;
      state->segment->Revive(*row);
      ++state->live;
      ++points_;
      return;
    }
  }
  AppendLocked(id, sequence, vector, nullptr);
}

ManifestChange Collection::WholeManifest(std::vector<PendingWrite>* pending) const {
  ManifestChange change;
  for (const SegmentState& state : segments_) {
    change.dead.push_back(
        {.number = state.segment->number(), .dead = EncodeDeadRows(*state.segment)});
  }
  std::map<WriteSequence, std::vector<PointId>> writes;
  for (const auto& buffer : buffers_) {
    for (int64_t first = 0; first < buffer->rows();) {
      const RowBlock block = buffer->Block(first, buffer->rows());
      for (int64_t i = 0; i < block.count; ++i) {
        writes[buffer->SequenceOf(first + i)].push_back(block.ids[i]);
      }
      first += block.count;
    }
  }
  for (auto& [sequence, ids] : writes) {
    pending->push_back({.sequence = sequence, .upserts = std::move(ids)});
  }
  return change;
}

void Collection::FinishRecovery(WriteSequence sequence) { PublishLocked(sequence); }

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
  return HasJobLocked() || HasSidecarLocked();
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
  for (const auto& vector : vectors_) vector->Drop();
  const std::lock_guard lock(mutex_);
  dropped_ = true;
  metrics_.RemoveGauge(MetricId::kPoints, {FullName(spec())});
  metrics_.RemoveGauge(MetricId::kPointsUnindexed, {FullName(spec())});
  metrics_.RemoveGauge(MetricId::kSegments, {FullName(spec())});
}

bool Collection::NeedsVacuum(const SegmentState& state) const {
  const int64_t rows = state.segment->rows();
  const int64_t percent = options_.vacuum_deleted_percent;
  return state.live == 0 || (percent > 0 && (rows - state.live) * 100 >= rows * percent);
}

bool Collection::IsInJobLocked(const GrowingBuffer& buffer) const {
  return std::find(buffers_in_jobs_.begin(), buffers_in_jobs_.end(), &buffer) !=
         buffers_in_jobs_.end();
}

bool Collection::HasJobLocked() const {
  if (resting_ || dropped_) return false;
  return buffers_.size() - 1 > buffers_in_jobs_.size() ||
         std::any_of(segments_.begin(), segments_.end(), [this](const SegmentState& state) {
           return !state.in_job && NeedsVacuum(state);
         });
}

std::optional<SealJob> Collection::TakeJob(int64_t rows_max, TimeUs now_us, bool* too_large) {
  const std::lock_guard lock(mutex_);
  *too_large = false;
  looked_us_ = now_us;
  if (resting_ && now_us >= rests_until_us_) resting_ = false;
  SealJob job;
  if (!HasJobLocked()) {
    job.segments = QuietMergeLocked(rows_max, now_us);
    if (job.segments.empty()) return std::nullopt;
    BeginJobLocked(&job);
    return job;
  }
  bool some = false;
  const auto fits = [&](int64_t rows) {
    if (job.rows + rows > rows_max) {
      *too_large = !some;
      return false;
    }
    job.rows += rows;
    some = true;
    return true;
  };
  for (size_t i = 0; i + 1 < buffers_.size() && job.buffers.size() < kJobBuffersMax; ++i) {
    if (IsInJobLocked(*buffers_[i])) continue;
    if (!fits(buffers_[i]->live())) break;
    job.buffers.push_back({.buffer = buffers_[i], .rows = buffers_[i]->rows()});
  }
  for (const SegmentState& state : segments_) {
    if (state.in_job || !NeedsVacuum(state) || !fits(state.live)) continue;
    job.segments.push_back(state.segment);
  }
  if (!some) return std::nullopt;
  *too_large = false;
  AddTiersLocked(rows_max, &job);
  BeginJobLocked(&job);
  return job;
}

// Sets the rest of a job that has its parts, and says of them that they are in it.
void Collection::BeginJobLocked(SealJob* job) {
  job->number = next_number_++;
  int64_t rows = 0;
  for (const CollectionView::BufferPart& part : job->buffers) {
    buffers_in_jobs_.push_back(part.buffer.get());
    rows += part.buffer->live();
  }
  const auto is_part = [job](const SegmentState& state) {
    return std::find(job->segments.begin(), job->segments.end(), state.segment) !=
           job->segments.end();
  };
  for (const SegmentState& state : segments_) rows += is_part(state) ? state.live : 0;
  job->rows = rows;
  int64_t seed_live = 0;
  for (SegmentState& state : segments_) {
    if (!is_part(state)) continue;
    state.in_job = true;
    const int64_t deleted = state.segment->rows() - state.live;
    if (state.live > seed_live && state.live * 100 >= job->rows * kSeedPercentMin &&
        deleted * 100 <= state.segment->rows() * kSeedDeletedPercentMax) {
      seed_live = state.live;
      job->seed = state.segment;
    }
  }
  jobs_.push_back({.number = job->number, .died = {}});
}

// What is merged beyond the tiers while nobody writes: as many segments as may be one, smallest
// first, where that makes the largest of them a good deal larger; where a small one has none of its
// kind beside it, what is larger than it. Empty: nothing, or not yet.
std::vector<std::shared_ptr<const Segment>> Collection::QuietMergeLocked(int64_t rows_max,
                                                                         TimeUs now_us) {
  if (sequence_ != quiet_sequence_) {
    quiet_sequence_ = sequence_;
    quiet_since_us_ = now_us;
  }
  if (dropped_ || resting_ || now_us < QuietFromUsLocked()) return {};
  std::vector<const SegmentState*> states;
  for (const SegmentState& state : segments_) states.push_back(&state);
  std::sort(states.begin(), states.end(),
            [](const SegmentState* a, const SegmentState* b) { return a->live < b->live; });
  rows_max = std::min(rows_max, options_.segment_points_max);
  for (size_t first = 0; first < states.size(); ++first) {
    int64_t smaller_rows = 0;
    size_t end = first;
    for (size_t i = first; i < states.size(); ++i) {
      const int64_t live = states[i]->live;
      if (smaller_rows + live > rows_max) break;
      if (smaller_rows * kQuietGrowth >= live) end = i + 1;
      smaller_rows += live;
    }
    if (end < first + 2) continue;
    std::vector<std::shared_ptr<const Segment>> merged;
    for (size_t i = first; i < end; ++i) merged.push_back(states[i]->segment);
    return merged;
  }
  return {};
}

TimeUs Collection::QuietFromUsLocked() const {
  // While a job is out, its end changes what there is to merge.
  if (options_.merge_quiet_ms == 0 || segments_.size() < 2 || !jobs_.empty()) return kNoDeadline;
  return quiet_since_us_ + options_.merge_quiet_ms * 1000;
}

// Merges all segments that are no larger than what there is so far, if there are enough of them;
// and again, since there is more now.
void Collection::AddTiersLocked(int64_t rows_max, SealJob* job) const {
  std::vector<const SegmentState*> others;
  for (const SegmentState& state : segments_) {
    if (!state.in_job && !NeedsVacuum(state)) others.push_back(&state);
  }
  std::sort(others.begin(), others.end(),
            [](const SegmentState* a, const SegmentState* b) { return a->live < b->live; });
  rows_max = std::min(rows_max, options_.segment_points_max);
  for (size_t first = 0;;) {
    int64_t merged_rows = job->rows;
    size_t end = first;
    while (end < others.size() && others[end]->live <= job->rows) {
      merged_rows += others[end++]->live;
    }
    if (end - first < kMergeSegments - 1 || merged_rows > rows_max) break;
    for (; first < end; ++first) job->segments.push_back(others[first]->segment);
    job->rows = merged_rows;
  }
}

Collection::ActiveJob Collection::EndJobLocked(const SealJob& job) {
  const auto active = std::find_if(jobs_.begin(), jobs_.end(), [&job](const ActiveJob& other) {
    return other.number == job.number;
  });
  ActiveJob ended = std::move(*active);
  jobs_.erase(active);
  for (const CollectionView::BufferPart& part : job.buffers) {
    std::erase(buffers_in_jobs_, part.buffer.get());
  }
  return ended;
}

void Collection::ForgetIdsLocked(const GrowingBuffer& buffer) {
  for (int64_t first = 0; first < buffer.rows();) {
    const RowBlock block = buffer.Block(first, buffer.rows());
    for (int64_t row = 0; row < block.count; ++row) {
      const auto found = buffer_of_.find(block.ids[row]);
      if (found != buffer_of_.end() && found->second == &buffer) buffer_of_.erase(found);
    }
    first += block.count;
  }
}

ManifestChange Collection::PrepareFinish(const SealJob& job,
                                         const std::shared_ptr<Segment>& segment,
                                         uint32_t file_sum) {
  ManifestChange change;
  std::vector<std::shared_ptr<const Segment>> changed;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& merged : job.segments) change.removed.push_back(merged->number());
    for (SegmentState& state : segments_) {
      const bool merged = std::count(job.segments.begin(), job.segments.end(), state.segment) > 0;
      if (merged || !state.died) continue;
      state.died = false;
      changed.push_back(state.segment);
    }
    // Writes from now on stay pending, whatever of them is in the records made below.
    change.pending_from = sequence_ + 1;
    for (const std::shared_ptr<GrowingBuffer>& buffer : buffers_) {
      const bool sealed =
          std::any_of(job.buffers.begin(), job.buffers.end(),
                      [&buffer](const auto& part) { return part.buffer == buffer; });
      if (!sealed) change.pending_from = std::min(change.pending_from, buffer->first_sequence());
    }
    if (segment != nullptr) {
      const auto active = std::find_if(jobs_.begin(), jobs_.end(), [&job](const ActiveJob& other) {
        return other.number == job.number;
      });
      for (const auto& [id, sequence] : active->died) segment->Delete(id, sequence);
    }
  }
  for (const auto& other : changed) {
    change.dead.push_back({.number = other->number(), .dead = EncodeDeadRows(*other)});
  }
  if (segment != nullptr) {
    change.added.push_back({.number = segment->number(),
                            .rows = segment->rows(),
                            .file_sum = file_sum,
                            .recall = segment->recall().Encode(),
                            .dead = EncodeDeadRows(*segment)});
  }
  return change;
}

bool Collection::FinishJob(const SealJob& job, std::shared_ptr<Segment> segment) {
  MadeSidecars sidecars = IndexJob(job, segment.get());
  const std::lock_guard lock(mutex_);
  const ActiveJob active = EndJobLocked(job);
  if (finishing_job_ == job.number) finishing_job_ = 0;
  if (dropped_) return false;
  rest_us_ = 0;
  std::erase_if(segments_, [&job](const SegmentState& state) {
    return std::find(job.segments.begin(), job.segments.end(), state.segment) != job.segments.end();
  });
  for (const CollectionView::BufferPart& part : job.buffers) ForgetIdsLocked(*part.buffer);
  std::erase_if(buffers_, [&job](const auto& buffer) {
    return std::any_of(job.buffers.begin(), job.buffers.end(),
                       [&buffer](const auto& part) { return part.buffer == buffer; });
  });
  InstallSidecarLocked(job, segment.get(), std::move(sidecars));
  if (segment != nullptr) {
    for (const auto& [id, sequence] : active.died) segment->Delete(id, sequence);
    int64_t live = 0;
    for (int64_t row = 0; row < segment->rows(); ++row) live += segment->IsLive(row) ? 1 : 0;
    segments_.push_back(
        {.segment = std::move(segment), .live = live, .died = !active.died.empty()});
  }
  PublishLocked(sequence_);
  return true;
}

TimeUs Collection::NextTryUs() const {
  const std::lock_guard lock(mutex_);
  if (resting_) return rests_until_us_;
  // It may have come by now: what tells is whether the last look was too early.
  const TimeUs quiet_us = QuietFromUsLocked();
  return quiet_us > looked_us_ ? quiet_us : kNoDeadline;
}

void Collection::RestLocked(TimeUs now_us) {
  resting_ = true;
  rest_us_ = std::clamp(2 * rest_us_, kRestUsMin, kRestUsMax);
  rests_until_us_ = now_us + rest_us_;
}

void Collection::AbandonJob(const SealJob& job, TimeUs now_us) {
  const std::lock_guard lock(mutex_);
  EndJobLocked(job);
  if (finishing_job_ == job.number) finishing_job_ = 0;
  for (SegmentState& state : segments_) {
    if (std::find(job.segments.begin(), job.segments.end(), state.segment) != job.segments.end()) {
      state.in_job = false;
    }
  }
  RestLocked(now_us);
  // The manifest may not have been told after all.
  for (SegmentState& state : segments_) state.died = true;
}

bool Collection::ContainsLocked(PointId id) const {
  return buffer_of_.contains(id) ||
         std::any_of(segments_.begin(), segments_.end(),
                     [id](const auto& state) { return state.segment->Contains(id); });
}

std::vector<std::string> Collection::NewPartitions(std::vector<std::string> names) const {
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  const std::lock_guard lock(mutex_);
  std::erase_if(names, [this](const std::string& name) { return partitions_.contains(name); });
  return names;
}

int64_t Collection::partitions() const {
  const std::lock_guard lock(mutex_);
  return std::ssize(partitions_);
}

bool Collection::DeleteLocked(PointId id, WriteSequence sequence) {
  if (!spec().partition_key.empty()) {
    if (const std::optional<Place> place = FindLocked(id); place.has_value()) {
      TakeFromPartitionLocked(*place);
    }
  }
  bool deleted = false;
  if (const auto found = buffer_of_.find(id); found != buffer_of_.end()) {
    deleted = found->second->Delete(id, sequence);
    buffer_of_.erase(found);
  }
  for (SegmentState& state : segments_) {
    if (deleted) break;
    deleted = state.segment->Delete(id, sequence);
    if (!deleted) continue;
    --state.live;
    state.died = true;
  }
  if (!deleted) return false;
  --points_;
  // An id has one live row: a job has this one, or none of the id.
  for (ActiveJob& job : jobs_) job.died.emplace_back(id, sequence);
  return true;
}

void Collection::AppendLocked(PointId id, WriteSequence sequence, const float* vector,
                              const Payload* payload) {
  if (spec().metric == Metric::kCosine && spec().storage == VectorStorage::kF32) {
    scaled_.assign(vector, vector + spec().dimension);
    Normalize(scaled_.data(), spec().dimension);
    vector = scaled_.data();
  }
  if (payload != nullptr) {
    IndexRowLocked(*buffers_.back(), buffers_.back()->rows(), sequence, *payload);
    AddToPartitionLocked(*payload);
  }
  buffers_.back()->Append(id, vector, sequence);
  buffer_of_.emplace(id, buffers_.back().get());
  ++points_;
  if (buffers_.back()->full()) {
    buffers_.push_back(std::make_shared<GrowingBuffer>(FormatOf(spec()), options_.seal_points));
  }
}

void Collection::PublishLocked(WriteSequence sequence) {
  if (dropped_) return;  // nobody finds it any more, and its gauges are gone
  sequence_ = sequence;
  std::vector<CollectionView::BufferPart> buffers;
  for (const auto& buffer : buffers_) {
    if (buffer->live() == 0) continue;
    buffers.push_back({.buffer = buffer,
                       .rows = buffer->rows(),
                       .payloads = SidecarLocked(buffer.get()),
                       .coming = ComingLocked(buffer.get())});
  }
  std::vector<CollectionView::SegmentPart> segments;
  int64_t unindexed = points_;
  for (const SegmentState& state : segments_) {
    if (state.live > 0) {
      segments.push_back({.segment = state.segment,
                          .live = state.live,
                          .payloads = SidecarLocked(state.segment.get()),
                          .coming = ComingLocked(state.segment.get())});
    }
    unindexed -= state.live;
  }
  segments_gauge_->Set(static_cast<double>(segments.size()));
  auto view = std::make_shared<const CollectionView>(spec(), sequence, points_, std::move(buffers),
                                                     std::move(segments), indexes_, change_);
  points_gauge_->Set(static_cast<double>(points_));
  unindexed_gauge_->Set(static_cast<double>(unindexed));
  unindexed_.store(unindexed, std::memory_order_relaxed);
  const std::lock_guard lock(view_mutex_);
  view_.swap(view);  // the old one is destroyed after the lock is released
}

}  // namespace baton
