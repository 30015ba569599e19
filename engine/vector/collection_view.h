#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/request/vector_request.h"
#include "engine/vector/point_ids.h"
#include "engine/vector/vector_format.h"

namespace baton {

class GrowingBuffer;
class PayloadSidecar;
class Segment;
struct IndexChange;

// A candidate. Distance is smaller for nearer points whatever the metric: cosine and dot hold the
// negated similarity, L2 the squared distance. Total order: (distance, id).
struct Neighbor {
  float distance = 0;
  PointId id = 0;
  friend bool operator<(const Neighbor& a, const Neighbor& b) {
    return a.distance < b.distance || (a.distance == b.distance && a.id < b.id);
  }
  friend bool operator==(const Neighbor&, const Neighbor&) = default;
};

// The score a client sees for a distance.
inline float ScoreOf(Metric metric, float distance) {
  return metric == Metric::kL2 ? distance : -distance;
}

// Counts the writes of a store, from 1. Every point carries the number of the write it came by.
using WriteSequence = uint64_t;

// Of a row that nothing has deleted or replaced yet.
inline constexpr WriteSequence kNeverDeleted = UINT64_MAX;

// Consecutive rows that lie together in memory. Vectors and ids never change; deleted_at[i] is
// set once, by the write that deletes or replaces row i, while readers look.
struct RowBlock {
  StoredRows vectors;  // [count]; unit length under kCosine. None: see Segment::ReadVectors
  PointIds ids;        // [count]
  const std::atomic<WriteSequence>* deleted_at = nullptr;  // [count]
  int64_t count = 0;

  bool LiveAt(WriteSequence sequence, int64_t row) const {
    return sequence < deleted_at[row].load(std::memory_order_relaxed);
  }
};

// A collection as it was after one commit: immutable, and searched without any lock. Whatever is
// written, sealed, merged or dropped later, a view keeps what it needs alive and shows the same
// points. Thread safe.
class CollectionView {
 public:
  struct BufferPart {
    std::shared_ptr<const GrowingBuffer> buffer;
    int64_t rows = 0;                                          // those the view includes
    std::shared_ptr<const PayloadSidecar> payloads = nullptr;  // null without payload indexes
    std::shared_ptr<const PayloadSidecar> coming = nullptr;    // those of change()
  };
  struct SegmentPart {
    std::shared_ptr<const Segment> segment;
    int64_t live = 0;  // rows of it that are live in the view
    std::shared_ptr<const PayloadSidecar> payloads = nullptr;
    std::shared_ptr<const PayloadSidecar> coming = nullptr;
  };

  CollectionView(CollectionSpec spec, WriteSequence sequence, int64_t points,
                 std::vector<BufferPart> buffers, std::vector<SegmentPart> segments,
                 std::shared_ptr<const PayloadIndexes> indexes = nullptr,
                 std::shared_ptr<const IndexChange> change = nullptr)
      : spec_(std::move(spec)),
        sequence_(sequence),
        points_(points),
        buffers_(std::move(buffers)),
        segments_(std::move(segments)),
        indexes_(std::move(indexes)),
        change_(std::move(change)) {}

  const CollectionSpec& spec() const { return spec_; }
  // The last write the view includes.
  WriteSequence sequence() const { return sequence_; }
  // Live points.
  int64_t points() const { return points_; }
  // Rows without a graph, searched exactly.
  std::span<const BufferPart> buffers() const { return buffers_; }
  std::span<const SegmentPart> segments() const { return segments_; }
  // Of the payloads; null: there are none.
  const std::shared_ptr<const PayloadIndexes>& indexes() const { return indexes_; }
  // Of the payload indexes, while one is made; null: none.
  const std::shared_ptr<const IndexChange>& change() const { return change_; }
  // Whether a write must tell indexes of its payloads.
  bool is_indexed() const { return indexes_ != nullptr || change_ != nullptr; }

 private:
  const CollectionSpec spec_;
  const WriteSequence sequence_;
  const int64_t points_;
  const std::vector<BufferPart> buffers_;
  const std::vector<SegmentPart> segments_;
  const std::shared_ptr<const PayloadIndexes> indexes_;
  const std::shared_ptr<const IndexChange> change_;
};

// Checks a query against the collection (length, every value finite and not too large, not zero
// under kCosine) and, under kCosine, scales it to unit length: the form that searches take.
// INVALID_ARGUMENT names the field, the limit and the value.
absl::Status PrepareQuery(const CollectionView& view, std::vector<float>& query);

}  // namespace baton
