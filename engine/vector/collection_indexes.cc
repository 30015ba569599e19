// What a collection does to get other payload indexes while it is written and searched:
// IndexChange.

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/vector/collection.h"

namespace baton {
namespace {

// Rows whose payloads are read at a time; between them it is seen whether to go on.
constexpr int64_t kRowsAtOnce = 256;

// What a row has in the coming indexes.
//   row: in those so far; null: nothing
//   added: in the new one
IndexedRow ComingRow(const IndexChange& change, const IndexedRow* row, const FieldValues& added) {
  IndexedRow coming;
  for (size_t field = 0; field < change.from.size(); ++field) {
    const int32_t from = change.from[field];
    if (from == IndexChange::kNew) {
      coming.push_back(added);
    } else if (row != nullptr) {
      coming.push_back((*row)[static_cast<size_t>(from)]);
    } else {
      coming.push_back({.count = 0, .values = EmptyValues((*change.indexes)[field].kind)});
    }
  }
  return coming;
}

// The one index that is new; null where there is none.
const PayloadIndex* NewIndex(const IndexChange& change) {
  for (size_t field = 0; field < change.from.size(); ++field) {
    if (change.from[field] == IndexChange::kNew) return &(*change.indexes)[field];
  }
  return nullptr;
}

// visit(row, values) for each of `rows`, ascending, whose point the snapshot has, with what the
// new index takes of it.
//   id_of(row)
template <class IdOf, class Visit>
absl::Status ReadNew(const IndexChange& change, std::span<const int64_t> rows, IdOf id_of,
                     absl::FunctionRef<absl::Status()> poll, std::atomic<int64_t>& done,
                     Visit visit) {
  const PayloadIndex* const index = NewIndex(change);
  std::vector<PointId> ids;
  while (!rows.empty()) {
    RETURN_IF_ERROR(poll());
    const auto some = rows.first(std::min(static_cast<size_t>(kRowsAtOnce), rows.size()));
    rows = rows.subspan(some.size());
    ids.clear();
    for (const int64_t row : some) ids.push_back(id_of(row));
    size_t at = 0;  // visited in the order asked
    RETURN_IF_ERROR(change.payloads->Read(ids, [&](PointId id, const Payload& payload) {
      while (ids[at] != id) ++at;
      visit(some[at], TakeValues(*index, payload));
    }));
    done.fetch_add(std::ssize(some), std::memory_order_relaxed);
  }
  return absl::OkStatus();
}

// The coming sidecar of a segment, as of the change's beginning.
absl::StatusOr<std::shared_ptr<PayloadSidecar>> MakeOfSegment(
    const IndexChange& change, const Segment& segment, const PayloadSidecar* sidecar,
    absl::FunctionRef<absl::Status()> poll, std::atomic<int64_t>& done) {
  std::shared_ptr<const FieldColumn> added;
  if (const PayloadIndex* const index = NewIndex(change); index != nullptr) {
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < segment.rows(); ++row) {
      if (segment.LiveAt(change.sequence, row)) rows.push_back(row);
    }
    FieldColumn::Builder builder(index->kind, segment.rows());
    RETURN_IF_ERROR(ReadNew(
        change, rows, [&](int64_t row) { return PointId(segment.data().ids[row]); }, poll, done,
        [&](int64_t row, const FieldValues& values) { builder.Add(row, values); }));
    added = std::make_shared<const FieldColumn>(std::move(builder).Finish());
  }
  PayloadSidecar::Columns columns;
  for (const int32_t from : change.from) {
    columns.push_back(from == IndexChange::kNew ? added
                                                : sidecar->columns()[static_cast<size_t>(from)]);
  }
  std::vector<uint32_t> nodes;
  // What the columns surely have: of patches since, there are records and marks.
  WriteSequence sequence = change.sequence;
  if (sidecar != nullptr) {
    nodes.assign(sidecar->row_nodes().begin(), sidecar->row_nodes().end());
    sequence = std::min(sequence, sidecar->sequence());
  } else if (const SealedGraph* const graph = segment.index().graph(); graph != nullptr) {
    nodes = graph->RowNodes();
  }
  auto made = std::make_shared<PayloadSidecar>(change.indexes, segment.rows(), sequence,
                                               std::move(columns), std::move(nodes));
  if (sidecar == nullptr) return made;
  sidecar->records().ForEachRow(change.sequence, [&](int64_t row, const IndexedRow& values) {
    const FieldValues value = added == nullptr ? FieldValues() : added->Get(row);
    made->records().Add(row, 0, ComingRow(change, &values, value));
  });
  return made;
}

// The same of the first rows of a growing buffer.
absl::StatusOr<std::shared_ptr<PayloadSidecar>> MakeOfBuffer(const IndexChange& change,
                                                             const GrowingBuffer& buffer,
                                                             int64_t buffer_rows, int64_t capacity,
                                                             const PayloadSidecar* sidecar,
                                                             absl::FunctionRef<absl::Status()> poll,
                                                             std::atomic<int64_t>& done) {
  std::vector<int64_t> rows;
  for (int64_t first = 0; first < buffer_rows;) {
    const RowBlock block = buffer.Block(first, buffer_rows);
    for (int64_t i = 0; i < block.count; ++i) {
      const bool is_there = buffer.SequenceOf(first + i) <= change.sequence;
      if (is_there && block.LiveAt(change.sequence, i)) rows.push_back(first + i);
    }
    first += block.count;
  }
  auto made = std::make_shared<PayloadSidecar>(change.indexes, capacity);
  const auto add = [&](int64_t row, const FieldValues& value) {
    const IndexedRow* const before =
        sidecar == nullptr ? nullptr : sidecar->records().Find(row, change.sequence);
    made->records().Add(row, 0, ComingRow(change, before, value));
  };
  if (NewIndex(change) == nullptr) {
    for (const int64_t row : rows) add(row, {});
    return made;
  }
  RETURN_IF_ERROR(ReadNew(
      change, rows, [&](int64_t row) { return PointId(buffer.Block(row, row + 1).ids[0]); }, poll,
      done, add));
  return made;
}

}  // namespace

const void* Collection::Unmade::part() const {
  return segment != nullptr ? static_cast<const void*>(segment.get()) : buffer.get();
}

std::shared_ptr<const PayloadSidecar> Collection::ComingLocked(const void* part) const {
  const auto found = coming_.find(part);
  return found == coming_.end() ? nullptr : found->second.sidecar;
}

bool Collection::BeginIndexes(std::shared_ptr<const IndexChange> change) {
  const std::lock_guard lock(mutex_);
  if (finishing_job_ != 0) return false;
  change_ = std::move(change);
  made_rows_ = 0;
  for (const SegmentState& state : segments_) {
    coming_[state.segment.get()].sidecar =
        std::make_shared<PayloadSidecar>(change_->indexes, state.segment->rows());
  }
  for (const auto& buffer : buffers_) {
    coming_[buffer.get()] = {
        .sidecar = std::make_shared<PayloadSidecar>(change_->indexes, options_.seal_points),
        .is_made = buffer->rows() == 0};
  }
  PublishLocked(sequence_);
  return true;
}

absl::Status Collection::MakeIndexes(IndexPoll poll) { return MakeIndexesOf(nullptr, poll); }

absl::Status Collection::BeginFinish(const SealJob& job, IndexPoll poll) {
  {
    const std::lock_guard lock(mutex_);
    finishing_job_ = job.number;
  }
  return MakeIndexesOf(&job, poll);
}

std::optional<Collection::Unmade> Collection::FindUnmadeLocked(const SealJob* job) const {
  if (change_ == nullptr || dropped_) return std::nullopt;
  const auto find = [&](const void* part, Unmade unmade) -> std::optional<Unmade> {
    const auto found = coming_.find(part);
    if (found == coming_.end() || found->second.is_made) return std::nullopt;
    unmade.change = change_;
    unmade.sidecar = SidecarLocked(part);
    unmade.coming = found->second.sidecar;
    return unmade;
  };
  for (const SegmentState& state : segments_) {
    if (job != nullptr &&
        std::count(job->segments.begin(), job->segments.end(), state.segment) == 0) {
      continue;
    }
    auto found =
        find(state.segment.get(), {.segment = state.segment, .rows = state.segment->rows()});
    if (found.has_value()) return found;
  }
  for (const auto& buffer : buffers_) {
    const bool is_in_job =
        job == nullptr || std::any_of(job->buffers.begin(), job->buffers.end(),
                                      [&](const auto& part) { return part.buffer == buffer; });
    if (!is_in_job) continue;
    auto found = find(buffer.get(), {.buffer = buffer, .rows = buffer->rows()});
    if (found.has_value()) return found;
  }
  return std::nullopt;
}

absl::Status Collection::MakeIndexesOf(const SealJob* job, IndexPoll poll) {
  while (true) {
    std::optional<Unmade> unmade;
    {
      const std::lock_guard lock(mutex_);
      unmade = FindUnmadeLocked(job);
    }
    if (!unmade.has_value()) return absl::OkStatus();
    const IndexChange& change = *unmade->change;
    auto made =
        unmade->segment != nullptr
            ? MakeOfSegment(change, *unmade->segment, unmade->sidecar.get(), poll, made_rows_)
            : MakeOfBuffer(change, *unmade->buffer, unmade->rows, options_.seal_points,
                           unmade->sidecar.get(), poll, made_rows_);
    RETURN_IF_ERROR(made.status());
    // Those that came since the change began; what comes meanwhile is few, and added under the
    // lock.
    const int64_t records = unmade->coming->records().count();
    unmade->coming->records().ForEach(
        0, records, [&](int64_t row, WriteSequence sequence, const IndexedRow& values) {
          (*made)->records().Add(row, sequence, values);
        });
    InstallMade(*unmade, *std::move(made), records);
  }
}

void Collection::InstallMade(const Unmade& unmade, std::shared_ptr<PayloadSidecar> made,
                             int64_t records) {
  const std::lock_guard lock(mutex_);
  if (change_ != unmade.change) return;
  const auto found = coming_.find(unmade.part());
  // Merged meanwhile, or made by another thread.
  if (found == coming_.end() || found->second.is_made) return;
  unmade.coming->records().ForEach(
      records, unmade.coming->records().count(),
      [&](int64_t row, WriteSequence sequence, const IndexedRow& values) {
        made->records().Add(row, sequence, values);
      });
  found->second = {.sidecar = std::move(made), .is_made = true};
  PublishLocked(sequence_);
}

bool Collection::FinishIndexes() {
  const std::lock_guard lock(mutex_);
  if (finishing_job_ != 0 || FindUnmadeLocked(nullptr).has_value()) return false;
  sidecars_.clear();
  indexes_ = change_->indexes->empty() ? nullptr : change_->indexes;
  if (indexes_ != nullptr) {
    for (auto& [part, coming] : coming_) sidecars_[part] = std::move(coming.sidecar);
  }
  coming_.clear();
  change_ = nullptr;
  PublishLocked(sequence_);
  return true;
}

void Collection::AbandonIndexes() {
  const std::lock_guard lock(mutex_);
  coming_.clear();
  change_ = nullptr;
  PublishLocked(sequence_);
}

}  // namespace baton
