// What a collection does about payload indexes: the sidecars of its buffers and segments.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/vector/collection.h"

namespace baton {
namespace {

// Records that a part has beside its rows before columns are made of them: a filtered search looks
// at each of a segment, and folding them costs a look at every row.
int64_t RecordsMax(const PayloadSidecar& sidecar) {
  return 1024 + (sidecar.has_columns() ? sidecar.rows() / 32 : 4 * sidecar.rows());
}

// The node of each row, where the segment has a graph.
std::vector<uint32_t> RowNodesOf(const Segment& segment) {
  const SealedGraph* const graph = segment.index().graph();
  return graph == nullptr ? std::vector<uint32_t>() : graph->RowNodes();
}

// The columns of `rows` rows, the fields of each from `values_of(row, field)`.
template <class ValuesOf>
PayloadSidecar::Columns MakeColumns(const PayloadIndexes& indexes, int64_t rows,
                                    ValuesOf values_of) {
  PayloadSidecar::Columns columns;
  for (size_t field = 0; field < indexes.size(); ++field) {
    FieldColumn::Builder builder(indexes[field].kind, rows);
    for (int64_t row = 0; row < rows; ++row) builder.Add(row, values_of(row, field));
    columns.push_back(std::make_shared<const FieldColumn>(std::move(builder).Finish()));
  }
  return columns;
}

// Each row of a segment has its fields from the same version of the point in a part of its job.
std::shared_ptr<PayloadSidecar> MakeSidecar(
    const std::shared_ptr<const PayloadIndexes>& indexes, WriteSequence sequence,
    const SealJob& job, const std::vector<std::shared_ptr<const PayloadSidecar>>& sidecars,
    const Segment& segment) {
  struct Source {
    const PayloadSidecar* sidecar = nullptr;
    int64_t row = 0;
  };
  std::vector<Source> sources(static_cast<size_t>(segment.rows()));
  const auto add = [&](PointId id, WriteSequence written, const PayloadSidecar* sidecar,
                       int64_t row) {
    const std::optional<int64_t> found = segment.Find(id);
    if (!found.has_value() || segment.data().sequences[*found] != written) return;
    sources[*found] = {.sidecar = sidecar, .row = row};
  };
  size_t part = 0;
  for (const CollectionView::BufferPart& buffer : job.buffers) {
    const PayloadSidecar* const sidecar = sidecars[part++].get();
    for (int64_t first = 0; first < buffer.rows;) {
      const RowBlock block = buffer.buffer->Block(first, buffer.rows);
      for (int64_t i = 0; i < block.count; ++i) {
        add(block.ids[i], buffer.buffer->SequenceOf(first + i), sidecar, first + i);
      }
      first += block.count;
    }
  }
  for (const auto& merged : job.segments) {
    const PayloadSidecar* const sidecar = sidecars[part++].get();
    for (int64_t row = 0; row < merged->rows(); ++row) {
      add(merged->data().ids[row], merged->data().sequences[row], sidecar, row);
    }
  }
  PayloadSidecar::Columns columns =
      MakeColumns(*indexes, segment.rows(), [&](int64_t row, size_t field) -> FieldValues {
        const Source& source = sources[row];
        if (source.sidecar == nullptr) {
          return {.count = 0, .values = EmptyValues((*indexes)[field].kind)};
        }
        return source.sidecar->ValuesOf(source.row, field, sequence);
      });
  return std::make_shared<PayloadSidecar>(indexes, segment.rows(), sequence, std::move(columns),
                                          RowNodesOf(segment));
}

}  // namespace

std::shared_ptr<const PayloadSidecar> Collection::SidecarLocked(const void* part) const {
  const auto found = sidecars_.find(part);
  return found == sidecars_.end() ? nullptr : found->second;
}

std::optional<Collection::Place> Collection::FindLocked(PointId id) const {
  if (const auto found = buffer_of_.find(id); found != buffer_of_.end()) {
    return Place{.part = found->second, .row = *found->second->Find(id)};
  }
  for (const SegmentState& state : segments_) {
    const std::optional<int64_t> row = state.segment->Find(id);
    if (row.has_value() && state.segment->IsLive(*row)) {
      return Place{.part = state.segment.get(), .row = *row};
    }
  }
  return std::nullopt;
}

void Collection::AddToPartitionLocked(const Payload& payload) {
  if (spec().partition_key.empty()) return;
  const auto found = payload.find(spec().partition_key);
  if (found == payload.end()) return;  // only where the log lost what it had
  if (const auto* name = std::get_if<std::string>(&found->second)) ++partitions_[*name];
}

void Collection::TakeFromPartitionLocked(const Place& place) {
  if (indexes_ == nullptr) return;  // as the place of a record that was lost
  const auto index =
      std::find_if(indexes_->begin(), indexes_->end(),
                   [this](const PayloadIndex& one) { return one.field == spec().partition_key; });
  if (index == indexes_->end()) return;
  const FieldValues values =
      sidecars_.at(place.part)
          ->ValuesOf(place.row, static_cast<size_t>(index - indexes_->begin()), kNeverDeleted);
  for (const std::string& name : std::get<std::vector<std::string>>(values.values)) {
    const auto found = partitions_.find(name);
    if (found != partitions_.end() && --found->second == 0) partitions_.erase(found);
  }
}

void Collection::IndexRowLocked(const GrowingBuffer& buffer, int64_t row, WriteSequence sequence,
                                const Payload& payload) {
  const auto add = [&](std::shared_ptr<PayloadSidecar>& sidecar,
                       const std::shared_ptr<const PayloadIndexes>& indexes) {
    if (sidecar == nullptr) {
      sidecar = std::make_shared<PayloadSidecar>(indexes, options_.seal_points);
    }
    sidecar->records().Add(row, sequence, TakeValues(*indexes, payload));
  };
  if (indexes_ != nullptr) add(sidecars_[&buffer], indexes_);
  if (change_ == nullptr) return;
  // A buffer that came with the change has no rows from before.
  const auto [coming, is_new] =
      coming_.try_emplace(&buffer, Coming{.sidecar = {}, .is_made = true});
  add(coming->second.sidecar, change_->indexes);
}

bool Collection::PatchLocked(PointId id, WriteSequence sequence, const Payload& payload) {
  const std::optional<Place> place = FindLocked(id);
  if (!place.has_value()) return false;
  LoggedPatch logged{.id = id, .sequence = sequence, .values = {}, .coming = {}};
  if (change_ != nullptr) {
    IndexedRow values = TakeValues(*change_->indexes, payload);
    if (log_patches_) logged.coming = values;
    coming_.at(place->part).sidecar->records().Add(place->row, sequence, std::move(values));
  }
  if (indexes_ == nullptr) {
    if (log_patches_) patched_.push_back(std::move(logged));
    return true;
  }
  PayloadSidecar& sidecar = *sidecars_.at(place->part);
  IndexedRow values = TakeValues(*indexes_, payload);
  if (log_patches_) {
    logged.values = values;
    patched_.push_back(std::move(logged));
  }
  sidecar.records().Add(place->row, sequence, std::move(values));
  if (sidecar.records().count() > RecordsMax(sidecar)) FoldLocked(place->part, sequence - 1);
  return true;
}

void Collection::FoldLocked(const void* part, WriteSequence sequence) {
  const std::shared_ptr<PayloadSidecar> old = sidecars_.at(part);
  const auto values_of = [&old](int64_t row, size_t field) {
    return old->ValuesOf(row, field, kNeverDeleted);
  };
  if (old->has_columns()) {
    const auto nodes = old->row_nodes();
    sidecars_[part] = std::make_shared<PayloadSidecar>(
        indexes_, old->rows(), sequence, MakeColumns(*indexes_, old->rows(), values_of),
        std::vector<uint32_t>(nodes.begin(), nodes.end()));
    return;
  }
  auto folded = std::make_shared<PayloadSidecar>(indexes_, old->rows());
  for (int64_t row = 0; row < old->rows(); ++row) {
    const IndexedRow* const values = old->records().Find(row, kNeverDeleted);
    if (values != nullptr) folded->records().Add(row, 0, *values);
  }
  sidecars_[part] = std::move(folded);
}

Collection::MadeSidecars Collection::IndexJob(const SealJob& job, const Segment* segment) {
  // Buffers, then segments.
  using Sidecars = std::vector<std::shared_ptr<const PayloadSidecar>>;
  Sidecars sidecars;
  Sidecars coming;
  std::shared_ptr<const PayloadIndexes> indexes;
  std::shared_ptr<const IndexChange> change;
  WriteSequence sequence = 0;
  {
    const std::lock_guard lock(mutex_);
    if (segment == nullptr || dropped_ || (indexes_ == nullptr && change_ == nullptr)) return {};
    indexes = indexes_;
    change = change_;
    sequence = sequence_;
    const auto add = [&](const void* part) {
      sidecars.push_back(SidecarLocked(part));
      coming.push_back(ComingLocked(part));
    };
    for (const CollectionView::BufferPart& part : job.buffers) add(part.buffer.get());
    for (const auto& merged : job.segments) add(merged.get());
    log_patches_ = true;
  }
  MadeSidecars made;
  if (indexes != nullptr) made.sidecar = MakeSidecar(indexes, sequence, job, sidecars, *segment);
  if (change != nullptr) {
    made.coming = MakeSidecar(change->indexes, sequence, job, coming, *segment);
  }
  return made;
}

void Collection::InstallSidecarLocked(const SealJob& job, const Segment* segment,
                                      MadeSidecars made) {
  if (change_ == nullptr) made.coming = nullptr;  // it was abandoned
  for (LoggedPatch& patch : patched_) {
    const std::optional<int64_t> row = segment->Find(patch.id);
    if (!row.has_value()) continue;
    if (made.sidecar != nullptr) {
      made.sidecar->records().Add(*row, patch.sequence, std::move(patch.values));
    }
    if (made.coming != nullptr) {
      made.coming->records().Add(*row, patch.sequence, std::move(patch.coming));
    }
  }
  log_patches_ = false;
  patched_ = {};
  const auto erase = [this](const void* part) {
    sidecars_.erase(part);
    coming_.erase(part);
  };
  for (const CollectionView::BufferPart& part : job.buffers) erase(part.buffer.get());
  for (const auto& merged : job.segments) erase(merged.get());
  if (made.sidecar != nullptr) sidecars_[segment] = std::move(made.sidecar);
  if (made.coming != nullptr) {
    coming_[segment] = {.sidecar = std::move(made.coming), .is_made = true};
  }
}

absl::Status Collection::Reindex(std::shared_ptr<const PayloadIndexes> indexes,
                                 PayloadSource source) {
  const std::lock_guard lock(mutex_);
  absl::flat_hash_map<const void*, std::shared_ptr<PayloadSidecar>> sidecars;
  partitions_.clear();
  if (indexes != nullptr) {
    // Rows of a segment come in their order, since both are by id.
    absl::flat_hash_map<const void*, std::vector<FieldColumn::Builder>> builders;
    for (const SegmentState& state : segments_) {
      for (const PayloadIndex& index : *indexes) {
        builders[state.segment.get()].emplace_back(index.kind, state.segment->rows());
      }
    }
    for (const auto& buffer : buffers_) {
      sidecars[buffer.get()] = std::make_shared<PayloadSidecar>(indexes, options_.seal_points);
    }
    RETURN_IF_ERROR(source([&](PointId id, const Payload& payload) {
      const std::optional<Place> place = FindLocked(id);
      if (!place.has_value()) return absl::OkStatus();
      AddToPartitionLocked(payload);
      IndexedRow values = TakeValues(*indexes, payload);
      const auto found = builders.find(place->part);
      if (found == builders.end()) {
        sidecars[place->part]->records().Add(place->row, 0, std::move(values));
        return absl::OkStatus();
      }
      for (size_t field = 0; field < values.size(); ++field) {
        found->second[field].Add(place->row, values[field]);
      }
      return absl::OkStatus();
    }));
    for (const SegmentState& state : segments_) {
      PayloadSidecar::Columns columns;
      for (FieldColumn::Builder& builder : builders[state.segment.get()]) {
        columns.push_back(std::make_shared<const FieldColumn>(std::move(builder).Finish()));
      }
      sidecars[state.segment.get()] =
          std::make_shared<PayloadSidecar>(indexes, state.segment->rows(), sequence_,
                                           std::move(columns), RowNodesOf(*state.segment));
    }
  }
  indexes_ = std::move(indexes);
  sidecars_ = std::move(sidecars);
  PublishLocked(sequence_);
  return absl::OkStatus();
}

}  // namespace baton
