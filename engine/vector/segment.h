#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/vector/collection_view.h"
#include "engine/vector/id_filter.h"
#include "engine/vector/mapped_file.h"
#include "engine/vector/recall_curve.h"
#include "engine/vector/segment_index.h"

namespace baton {

// What a segment is made of, before it has an index: rows by ascending id.
struct SegmentRows {
  PointIdList ids;                       // [rows]
  std::vector<WriteSequence> sequences;  // [rows]: the write each row came by
  std::vector<float> vectors;            // [rows, dimension], row-major
  // The same as they are stored, which is what is kept; empty where they are stored as floats.
  std::vector<std::byte> stored = {};

  int64_t count() const { return static_cast<int64_t>(ids.size()); }
};

// The same rows as the graph takes them. Moving `rows` moves no vectors.
GraphRows GraphRowsOf(const CollectionSpec& spec, const SegmentRows& rows);

// The same rows where they lie.
struct SegmentArrays {
  PointIds ids;
  std::span<const WriteSequence> sequences;
  StoredRows vectors;  // none where the graph's codes say all
};

// A sealed piece of a collection: rows and their index, immutable but for the marks of deletion.
// Threads: Delete is the writer's (the collection's mutex); the rest is anybody's.
class Segment {
 public:
  // `number` names the segment's file. All rows are live; or dead, where `live` is false.
  // `index` is over GraphRowsOf(spec, rows).
  Segment(uint64_t number, const VectorFormat& format, SegmentRows rows, SegmentIndex index,
          bool live = true);
  // The same in memory that `owner` keeps.
  Segment(uint64_t number, const VectorFormat& format, const SegmentArrays& rows,
          std::shared_ptr<const void> owner, SegmentIndex index, bool live);
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;

  uint64_t number() const { return number_; }
  // Where rows are read from a file: that.
  void set_file(std::shared_ptr<const MappedFile> file) { file_ = std::move(file); }
  bool has_file() const { return file_ != nullptr; }
  // Whether what was read of the file may be wrong. Any thread may find out.
  bool unreadable() const {
    return damaged_.load(std::memory_order_relaxed) || (file_ != nullptr && file_->unreadable());
  }
  void MarkDamaged() const { damaged_ = true; }
  int64_t rows() const { return rows_.ids.size(); }
  const SegmentArrays& data() const { return rows_; }
  const SegmentIndex& index() const { return index_; }
  // Before anybody else knows the segment.
  void set_recall(const RecallCurve& recall) { recall_ = recall; }
  const RecallCurve& recall() const { return recall_; }

  // The row of `id`, live or not.
  std::optional<int64_t> Find(PointId id) const;
  bool Contains(PointId id) const;  // and it is live
  bool IsLive(int64_t row) const {
    return deleted_at_[row].load(std::memory_order_relaxed) == kNeverDeleted;
  }
  // False where no live row has this id.
  bool Delete(PointId id, WriteSequence sequence);
  // While recovering: a row that was constructed live is dead; the reverse.
  void Kill(int64_t row) { deleted_at_[row].store(0, std::memory_order_relaxed); }
  void Revive(int64_t row) { deleted_at_[row].store(kNeverDeleted, std::memory_order_relaxed); }

  // Rows [first, first + count). There may be no `vectors`: then ReadVectors tells them.
  RowBlock Block(int64_t first, int64_t count) const;
  // vectors: [count, dimension], row-major
  void ReadVectors(int64_t first, int64_t count, float* vectors) const;
  bool LiveAt(WriteSequence sequence, int64_t row) const {
    return sequence < deleted_at_[row].load(std::memory_order_relaxed);
  }
  // Asks memory for what LiveAt looks at.
  void PrefetchLive(int64_t row) const { __builtin_prefetch(&deleted_at_[row]); }

 private:
  Segment(uint64_t number, const VectorFormat& format, std::shared_ptr<const SegmentRows> rows,
          SegmentIndex&& index, bool live);

  const uint64_t number_;
  std::shared_ptr<const MappedFile> file_;  // set before anybody else knows the segment
  mutable std::atomic<bool> damaged_ = false;
  const VectorFormat format_;
  const std::shared_ptr<const void> owner_;
  const SegmentArrays rows_;
  const IdFilter filter_;
  const SegmentIndex index_;
  RecallCurve recall_;
  const std::unique_ptr<std::atomic<WriteSequence>[]> deleted_at_;  // [rows]
};

}  // namespace baton
