#include "engine/vector/segment.h"

#include <algorithm>
#include <utility>

namespace baton {

GraphRows GraphRowsOf(const CollectionSpec& spec, const SegmentRows& rows) {
  GraphRows graph{.vectors = rows.vectors.data(),
                  .rows = rows.count(),
                  .dimension = spec.dimension,
                  .metric = spec.metric,
                  .m = spec.hnsw_m,
                  .ef_construction = spec.hnsw_ef_construction};
  if (!rows.stored.empty()) graph.stored = {.bytes = rows.stored.data(), .format = FormatOf(spec)};
  return graph;
}

namespace {

SegmentArrays ArraysOf(const VectorFormat& format, const SegmentRows& rows) {
  SegmentArrays arrays{.ids = rows.ids.view(), .sequences = rows.sequences, .vectors = {}};
  if (!rows.stored.empty()) {
    arrays.vectors = {.bytes = rows.stored.data(), .format = format};
  } else if (!rows.vectors.empty()) {
    arrays.vectors = {.bytes = reinterpret_cast<const std::byte*>(rows.vectors.data()),
                      .format = format};
  }
  return arrays;
}

// In a place of their own, without vectors that nobody will ask for.
std::shared_ptr<const SegmentRows> Keep(SegmentRows rows, const SegmentIndex& index) {
  if (index.has_vectors() || !rows.stored.empty()) rows.vectors = {};
  if (index.has_vectors()) rows.stored = {};
  return std::make_shared<const SegmentRows>(std::move(rows));
}

}  // namespace

Segment::Segment(uint64_t number, const VectorFormat& format, SegmentRows rows, SegmentIndex index,
                 bool live)
    : Segment(number, format, Keep(std::move(rows), index), std::move(index), live) {}

Segment::Segment(uint64_t number, const VectorFormat& format,
                 std::shared_ptr<const SegmentRows> rows, SegmentIndex&& index, bool live)
    : Segment(number, format, ArraysOf(format, *rows), rows, std::move(index), live) {}

Segment::Segment(uint64_t number, const VectorFormat& format, const SegmentArrays& rows,
                 std::shared_ptr<const void> owner, SegmentIndex index, bool live)
    : number_(number),
      format_(format),
      owner_(std::move(owner)),
      rows_(rows),
      filter_(rows.ids),
      index_(std::move(index)),
      deleted_at_(
          std::make_unique<std::atomic<WriteSequence>[]>(static_cast<size_t>(rows_.ids.size()))) {
  const WriteSequence deleted_at = live ? kNeverDeleted : 0;
  for (int64_t row = 0; row < this->rows(); ++row) {
    deleted_at_[row].store(deleted_at, std::memory_order_relaxed);
  }
}

std::optional<int64_t> Segment::Find(PointId id) const {
  if (!filter_.MayContain(id)) return std::nullopt;
  const int64_t row = rows_.ids.CountBelow(id);
  if (row == rows() || rows_.ids[row] != id) return std::nullopt;
  return row;
}

bool Segment::Contains(PointId id) const {
  const std::optional<int64_t> row = Find(id);
  return row.has_value() && deleted_at_[*row].load(std::memory_order_relaxed) == kNeverDeleted;
}

bool Segment::Delete(PointId id, WriteSequence sequence) {
  const std::optional<int64_t> row = Find(id);
  if (!row.has_value()) return false;
  // Relaxed, as in GrowingBuffer::Delete.
  if (deleted_at_[*row].load(std::memory_order_relaxed) != kNeverDeleted) return false;
  deleted_at_[*row].store(sequence, std::memory_order_relaxed);
  return true;
}

RowBlock Segment::Block(int64_t first, int64_t count) const {
  StoredRows vectors = rows_.vectors;
  if (vectors.bytes != nullptr) vectors.bytes = vectors.At(first);
  return {.vectors = vectors,
          .ids = rows_.ids.From(first, count),
          .deleted_at = deleted_at_.get() + first,
          .count = count};
}

void Segment::ReadVectors(int64_t first, int64_t count, float* vectors) const {
  if (format_.dimension() == 0) return;
  if (rows_.vectors.bytes != nullptr) {
    format_.Decode(rows_.vectors.At(first), count, vectors);
    return;
  }
  for (int64_t row = first; row < first + count; ++row, vectors += format_.dimension()) {
    index_.graph()->DecodeRow(row, vectors);
  }
}

}  // namespace baton
