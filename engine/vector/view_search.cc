#include "engine/vector/view_search.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/distance.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/segment.h"

namespace baton {
namespace {

// A scan compares a tile of rows with a block of queries before it goes on: the tile is read from
// memory once per block and stays in the second-level cache (1 MiB and more where it matters)
// together with the queries.
constexpr int64_t kTileBytes = 128 << 10;
constexpr int64_t kTileRowsMax = 512;
constexpr size_t kQueryBlock = 32;

// At some 4 multiplications per nanosecond, about a millisecond.
constexpr int64_t kPollMultiplications = 4 << 20;

// The k smallest neighbors seen.
class TopK {
 public:
  TopK(int32_t k, int64_t points) : k_(static_cast<size_t>(std::min<int64_t>(k, points))) {
    heap_.reserve(k_);
  }

  bool Wants(const Neighbor& neighbor) const {
    return heap_.size() < k_ || (k_ > 0 && neighbor < heap_.front());
  }

  void Add(const Neighbor& neighbor) {
    if (!Wants(neighbor)) return;
    if (heap_.size() == k_) {
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.pop_back();
    }
    heap_.push_back(neighbor);
    std::push_heap(heap_.begin(), heap_.end());
  }

  std::vector<Neighbor> Take() {
    std::sort_heap(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  const size_t k_;
  std::vector<Neighbor> heap_;  // the farthest in front
};

// A block of queries over one view.
class BlockSearch {
 public:
  BlockSearch(const CollectionView& view, std::span<const std::vector<float>> queries,
              const SearchParams& params, SearchPoll poll)
      : view_(view),
        queries_(queries),
        params_(params),
        poll_(poll),
        dimension_(view.spec().dimension),
        distance_(DistanceFor(view.spec().metric)),
        tile_rows_(std::clamp<int64_t>(
            kTileBytes / (dimension_ * static_cast<int64_t>(sizeof(float))), 1, kTileRowsMax)),
        tops_(queries.size(), TopK(params.k, view.points())) {}

  absl::Status Run() {
    for (const CollectionView::BufferPart& part : view_.buffers()) {
      for (int64_t first = 0; first < part.rows;) {
        const RowBlock block = part.buffer->Block(first, part.rows);
        RETURN_IF_ERROR(Scan(block, nullptr, 0, queries_.size()));
        first += block.count;
      }
    }
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      if (part.segment->index().ivf() != nullptr && !params_.exact) {
        for (size_t query = 0; query < queries_.size(); ++query) {
          RETURN_IF_ERROR(Probe(part, query));
        }
        continue;
      }
      const RowBlock all = part.segment->Block(0, part.segment->rows());
      int64_t ef = FirstEf(part);
      if (ef == 0) {
        RETURN_IF_ERROR(Scan(all, part.segment.get(), 0, queries_.size()));
        continue;
      }
      for (size_t query = 0; query < queries_.size(); ++query) {
        ASSIGN_OR_RETURN(const bool enough, Walk(part, ef, query));
        if (!enough) RETURN_IF_ERROR(Scan(all, part.segment.get(), query, query + 1));
      }
    }
    return absl::OkStatus();
  }

  // What a file did not give was taken for zeros.
  absl::Status CheckReadable() const {
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      if (!part.segment->unreadable()) continue;
      return absl::UnavailableError(
          StrCat("a file of collection \"", view_.spec().name,
                 "\" cannot be read; its points are being taken from the database: try again"));
    }
    return absl::OkStatus();
  }

  std::vector<std::vector<Neighbor>> Take() {
    std::vector<std::vector<Neighbor>> neighbors;
    for (TopK& top : tops_) neighbors.push_back(top.Take());
    return neighbors;
  }

 private:
  // Queries [begin, end) against all rows of a block, which are those of `segment`, if not null.
  absl::Status Scan(const RowBlock& block, const Segment* segment, size_t begin, size_t end) {
    float distances[kTileRowsMax];
    if (block.vectors == nullptr) tile_.resize(static_cast<size_t>(tile_rows_ * dimension_));
    for (int64_t first = 0; first < block.count; first += tile_rows_) {
      const int64_t count = std::min(tile_rows_, block.count - first);
      const float* vectors = tile_.data();
      if (block.vectors != nullptr) {
        vectors = block.vectors + first * dimension_;
      } else {
        segment->ReadVectors(first, count, tile_.data());
      }
      for (size_t query = begin; query < end; ++query) {
        distance_(queries_[query].data(), vectors, count, dimension_, distances);
        TopK& top = tops_[query];
        for (int64_t i = 0; i < count; ++i) {
          const Neighbor neighbor{distances[i], block.ids[first + i]};
          if (top.Wants(neighbor) && block.LiveAt(view_.sequence(), first + i)) top.Add(neighbor);
        }
      }
      RETURN_IF_ERROR(Worked(count * dimension_ * static_cast<int64_t>(end - begin)));
    }
    return absl::OkStatus();
  }

  // Candidates to keep so that the k nearest live ones are found as surely as if none were deleted;
  // 0: better scan. Those are among the nearest k * rows / live, and what surely finds 10 is not
  // far from finding 20: more candidates by what comes between, twice, keep the recall. Measured on
  // vectors of 128 values, half of them deleted.
  int64_t FirstEf(const CollectionView::SegmentPart& part) const {
    if (params_.exact) return 0;
    const int64_t wanted = std::max(params_.ef, params_.k);
    const int64_t rows = part.segment->rows();
    const int64_t between = params_.k * (rows - part.live) / part.live;
    const int64_t ef = std::min(wanted * rows / part.live, wanted + 2 * between);
    return WalkPays(view_.spec(), part.segment->rows(), ef) ? ef : 0;
  }

  // False where the graph did not yield as many live rows as there are to be found.
  absl::StatusOr<bool> Walk(const CollectionView::SegmentPart& part, int64_t ef, size_t query) {
    const Segment& segment = *part.segment;
    const int64_t wanted = std::min<int64_t>(params_.k, part.live);
    for (; WalkPays(view_.spec(), segment.rows(), ef); ef *= 2) {
      segment.index().graph()->Search(
          queries_[query].data(), ef, wanted,
          [&](int64_t row) { return segment.LiveAt(view_.sequence(), row); }, &found_);
      RETURN_IF_ERROR(Worked(ef * 2 * view_.spec().hnsw_m * dimension_));
      if (std::ssize(found_) < wanted) continue;
      for (const GraphNeighbor& neighbor : found_) {
        tops_[query].Add({neighbor.distance, segment.data().ids[neighbor.row]});
      }
      return true;
    }
    return false;
  }

  // The nearest rows of an inverted file.
  absl::Status Probe(const CollectionView::SegmentPart& part, size_t query) {
    const Segment& segment = *part.segment;
    const IvfIndex& ivf = *segment.index().ivf();
    const int64_t wanted = std::min<int64_t>(params_.k, part.live);
    const IvfQuery probe{.vector = queries_[query].data(),
                         .nprobe = params_.nprobe.value_or(0),
                         .candidates = std::max<int64_t>(params_.ef, IvfCandidates(params_.k)),
                         .wanted = wanted};
    ivf.Search(
        probe, [&](int64_t row) { return segment.LiveAt(view_.sequence(), row); }, &found_);
    for (const GraphNeighbor& neighbor : found_) {
      tops_[query].Add({neighbor.distance, segment.data().ids[neighbor.row]});
    }
    return Worked((ivf.lists() + std::ssize(found_)) * dimension_ + ivf.ProbedRows(probe.nprobe));
  }

  absl::Status Worked(int64_t multiplications) {
    unpolled_ += multiplications;
    if (unpolled_ < kPollMultiplications) return absl::OkStatus();
    unpolled_ = 0;
    return poll_();
  }

  const CollectionView& view_;
  const std::span<const std::vector<float>> queries_;
  const SearchParams& params_;
  const SearchPoll poll_;
  const int64_t dimension_;
  const DistanceFn distance_;
  const int64_t tile_rows_;
  std::vector<float> tile_;           // scratch of Scan: [tile_rows, dimension], row-major
  std::vector<TopK> tops_;            // [queries]
  std::vector<GraphNeighbor> found_;  // scratch of Walk
  int64_t unpolled_ = 0;
};

}  // namespace

bool WalkPays(const CollectionSpec& spec, int64_t rows, int64_t ef) {
  // It compares the query with about 2m neighbors of each of the ef candidates. Each costs the
  // multiplications of its distance and, for heaps and a cache miss, as much as 64 more: measured
  // on rows of 16 to 768 values.
  return ef * 2 * spec.hnsw_m * (spec.dimension + 64) < rows * spec.dimension;
}

absl::Status SearchView(const CollectionView& view, std::span<const std::vector<float>> queries,
                        const SearchParams& params, SearchPoll poll,
                        std::vector<std::vector<Neighbor>>* neighbors) {
  neighbors->clear();
  neighbors->reserve(queries.size());
  for (size_t first = 0; first < queries.size(); first += kQueryBlock) {
    RETURN_IF_ERROR(poll());
    const size_t count = std::min(kQueryBlock, queries.size() - first);
    BlockSearch block(view, queries.subspan(first, count), params, poll);
    RETURN_IF_ERROR(block.Run());
    RETURN_IF_ERROR(block.CheckReadable());
    for (std::vector<Neighbor>& found : block.Take()) neighbors->push_back(std::move(found));
  }
  return absl::OkStatus();
}

}  // namespace baton
