// What a collection does about the files of its payload indexes.

#include <algorithm>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/vector/collection.h"

namespace baton {

int64_t Collection::RowsOf(uint64_t segment) const {
  const std::lock_guard lock(mutex_);
  for (const SegmentState& state : segments_) {
    if (state.segment->number() == segment) return state.segment->rows();
  }
  return 0;
}

absl::Status Collection::RecoverIndexes(std::shared_ptr<const PayloadIndexes> indexes,
                                        absl::flat_hash_map<uint64_t, RecoveredSidecar> stored,
                                        std::vector<PointId> patched, PayloadReader read) {
  const std::lock_guard lock(mutex_);
  indexes_ = std::move(indexes);
  sidecars_.clear();
  partitions_.clear();
  const auto key =
      std::find_if(indexes_->begin(), indexes_->end(),
                   [this](const PayloadIndex& one) { return one.field == spec().partition_key; });
  const auto key_field = static_cast<size_t>(key - indexes_->begin());
  const bool is_partitioned = !spec().partition_key.empty() && key != indexes_->end();
  for (SegmentState& state : segments_) {
    const Segment& segment = *state.segment;
    std::vector<uint32_t> nodes;
    if (const SealedGraph* const graph = segment.index().graph()) nodes = graph->RowNodes();
    std::shared_ptr<PayloadSidecar>& sidecar = sidecars_[state.segment.get()];
    if (const auto found = stored.find(segment.number()); found != stored.end()) {
      PayloadSidecar::Columns columns;
      for (FieldColumn& column : found->second.columns) {
        columns.push_back(std::make_shared<const FieldColumn>(std::move(column)));
      }
      sidecar = std::make_shared<PayloadSidecar>(indexes_, segment.rows(), found->second.sequence,
                                                 std::move(columns), std::move(nodes));
      sidecar->set_stored();
      state.sidecar_file = found->second.number;
    } else {
      std::vector<PointId> ids;
      std::vector<FieldColumn::Builder> builders;
      for (const PayloadIndex& index : *indexes_) builders.emplace_back(index.kind, segment.rows());
      for (int64_t row = 0; row < segment.rows(); ++row) {
        if (segment.IsLive(row)) ids.push_back(segment.data().ids[row]);
      }
      RETURN_IF_ERROR(read(ids, [&](PointId id, const Payload& payload) {
        const IndexedRow values = TakeValues(*indexes_, payload);
        for (size_t field = 0; field < values.size(); ++field) {
          builders[field].Add(*segment.Find(id), values[field]);
        }
        return absl::OkStatus();
      }));
      PayloadSidecar::Columns columns;
      for (FieldColumn::Builder& builder : builders) {
        columns.push_back(std::make_shared<const FieldColumn>(std::move(builder).Finish()));
      }
      sidecar = std::make_shared<PayloadSidecar>(indexes_, segment.rows(), sequence_,
                                                 std::move(columns), std::move(nodes));
    }
    for (int64_t row = 0; is_partitioned && row < segment.rows(); ++row) {
      if (!segment.IsLive(row)) continue;
      const FieldColumn& column = sidecar->column(key_field);
      const auto& names = std::get<std::vector<std::string>>(column.values());
      for (const uint32_t value : column.ValuesOf(row)) ++partitions_[names[value]];
    }
  }
  for (const auto& buffer : buffers_) {
    std::vector<PointId> ids;
    for (int64_t first = 0; first < buffer->rows();) {
      const RowBlock block = buffer->Block(first, buffer->rows());
      for (int64_t i = 0; i < block.count; ++i) ids.push_back(block.ids[i]);
      first += block.count;
    }
    const auto sidecar = std::make_shared<PayloadSidecar>(indexes_, options_.seal_points);
    RETURN_IF_ERROR(read(ids, [&](PointId id, const Payload& payload) {
      const std::optional<Place> place = FindLocked(id);
      if (!place.has_value() || place->part != buffer.get()) return absl::OkStatus();
      AddToPartitionLocked(payload);
      sidecar->records().Add(place->row, 0, TakeValues(*indexes_, payload));
      return absl::OkStatus();
    }));
    sidecars_[buffer.get()] = sidecar;
  }
  std::sort(patched.begin(), patched.end());
  patched.erase(std::unique(patched.begin(), patched.end()), patched.end());
  // Those in buffers, and in what was just made, were read above.
  std::erase_if(patched, [this](PointId id) {
    const std::optional<Place> place = FindLocked(id);
    return !place.has_value() || !sidecars_.at(place->part)->is_stored();
  });
  RETURN_IF_ERROR(read(patched, [this](PointId id, const Payload& payload) {
    const Place place = *FindLocked(id);
    sidecars_.at(place.part)->records().Add(place.row, 0, TakeValues(*indexes_, payload));
    return absl::OkStatus();
  }));
  PublishLocked(sequence_);
  return absl::OkStatus();
}

bool Collection::HasSidecarLocked() const {
  if (!options_.graph_files || resting_ || dropped_ || indexes_ == nullptr) return false;
  // They are soon others; and what a change takes over of columns must not be in a file before it.
  if (change_ != nullptr) return false;
  return std::any_of(segments_.begin(), segments_.end(), [this](const SegmentState& state) {
    return !state.in_job && !sidecars_.at(state.segment.get())->is_stored();
  });
}

std::optional<SidecarJob> Collection::TakeSidecar(TimeUs now_us) {
  const std::lock_guard lock(mutex_);
  if (resting_ && now_us >= rests_until_us_) resting_ = false;
  if (!HasSidecarLocked()) return std::nullopt;
  for (const SegmentState& state : segments_) {
    const std::shared_ptr<PayloadSidecar>& sidecar = sidecars_.at(state.segment.get());
    // What is being merged is soon part of another.
    if (state.in_job || sidecar->is_stored()) continue;
    return SidecarJob{.number = next_number_++, .segment = state.segment, .sidecar = sidecar};
  }
  return std::nullopt;
}

void Collection::DropStored(const SidecarJob& job, std::vector<PatchedPoints>& patched) const {
  const std::lock_guard lock(mutex_);
  for (PatchedPoints& write : patched) {
    std::erase_if(write.ids, [&](PointId id) {
      const std::optional<Place> place = FindLocked(id);
      if (!place.has_value()) return true;  // what is written again is a pending write
      if (place->part == job.segment.get()) return write.sequence <= job.sidecar->sequence();
      const auto buffer = std::find_if(buffers_.begin(), buffers_.end(),
                                       [&](const auto& one) { return one.get() == place->part; });
      return buffer != buffers_.end() && (*buffer)->SequenceOf(place->row) > write.sequence;
    });
  }
}

uint64_t Collection::FinishSidecar(const SidecarJob& job) {
  const std::lock_guard lock(mutex_);
  job.sidecar->set_stored();
  rest_us_ = 0;
  for (SegmentState& state : segments_) {
    if (state.segment == job.segment) return std::exchange(state.sidecar_file, job.number);
  }
  return 0;
}

void Collection::AbandonSidecar(TimeUs now_us) {
  const std::lock_guard lock(mutex_);
  RestLocked(now_us);
}

std::vector<uint64_t> Collection::SidecarsOf(
    const std::vector<std::shared_ptr<const Segment>>& segments) const {
  const std::lock_guard lock(mutex_);
  std::vector<uint64_t> numbers;
  for (const SegmentState& state : segments_) {
    const bool asked = std::count(segments.begin(), segments.end(), state.segment) > 0;
    if (asked && state.sidecar_file != 0) numbers.push_back(state.sidecar_file);
  }
  return numbers;
}

}  // namespace baton
