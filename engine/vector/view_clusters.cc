#include "engine/vector/view_clusters.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/functional/function_ref.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/distance.h"
#include "engine/vector/growing_buffer.h"
#include "engine/vector/segment.h"
#include "engine/vector/vector_checks.h"

namespace baton {
namespace {

// Takes a chunk of points: [ids], [ids, dimension], which it may change.
using TakeChunk =
    absl::FunctionRef<absl::Status(const std::vector<PointId>& ids, std::vector<float>& vectors)>;

// Where points come from: the same ones in the same order each time.
class PointSource {
 public:
  virtual ~PointSource() = default;
  virtual int64_t points() const = 0;
  virtual int64_t dimension() const = 0;
  // Gives the points whose number, from 0, is `wanted`, in chunks.
  virtual absl::Status Read(absl::FunctionRef<bool(int64_t number)> wanted,
                            TakeChunk take) const = 0;
};

// Points that are read, assigned and counted together.
struct ChunkOf {
  int64_t dimension;
  int64_t points;
};

// Collects points until there are enough to be taken.
class Chunk {
 public:
  Chunk(const ChunkOf& of, TakeChunk take) : points_(of.points), take_(take) {
    vectors_.reserve(static_cast<size_t>(of.points * of.dimension));
  }
  absl::Status Add(PointId id, std::span<const float> vector) {
    ids_.push_back(id);
    vectors_.insert(vectors_.end(), vector.begin(), vector.end());
    return std::ssize(ids_) < points_ ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    if (ids_.empty()) return absl::OkStatus();
    const absl::Status status = take_(ids_, vectors_);
    ids_.clear();
    vectors_.clear();
    return status;
  }

 private:
  const int64_t points_;
  const TakeChunk take_;
  std::vector<PointId> ids_;
  std::vector<float> vectors_;
};

class ViewSource final : public PointSource {
 public:
  ViewSource(const CollectionView& view, int64_t chunk) : view_(view), chunk_(chunk) {}
  int64_t points() const override { return view_.points(); }
  int64_t dimension() const override { return view_.spec().dimension; }

  absl::Status Read(absl::FunctionRef<bool(int64_t)> wanted, TakeChunk take) const override {
    const auto width = static_cast<size_t>(dimension());
    Chunk chunk({.dimension = dimension(), .points = chunk_}, take);
    std::vector<float> decoded(width);
    int64_t number = 0;
    const auto read = [&](const RowBlock& block, const Segment* segment) -> absl::Status {
      for (int64_t row = 0; row < block.count; ++row) {
        if (!block.LiveAt(view_.sequence(), row) || !wanted(number++)) continue;
        const float* vector = decoded.data();
        if (block.vectors.bytes != nullptr) {
          vector = block.vectors.Vector(row, decoded.data());
        } else if (segment != nullptr) {  // buffers have theirs
          segment->ReadVectors(row, 1, decoded.data());
        }
        RETURN_IF_ERROR(chunk.Add(block.ids[row], {vector, width}));
      }
      return absl::OkStatus();
    };
    for (const CollectionView::SegmentPart& part : view_.segments()) {
      RETURN_IF_ERROR(read(part.segment->Block(0, part.segment->rows()), part.segment.get()));
    }
    for (const CollectionView::BufferPart& part : view_.buffers()) {
      for (int64_t first = 0; first < part.rows;) {
        const RowBlock block = part.buffer->Block(first, part.rows);
        RETURN_IF_ERROR(read(block, nullptr));
        first += block.count;
      }
    }
    return chunk.Flush();
  }

 private:
  const CollectionView& view_;
  const int64_t chunk_;
};

class VectorSource final : public PointSource {
 public:
  VectorSource(std::span<const std::vector<float>> vectors, int64_t chunk)
      : vectors_(vectors), chunk_(chunk) {}
  int64_t points() const override { return std::ssize(vectors_); }
  int64_t dimension() const override { return vectors_.empty() ? 0 : std::ssize(vectors_.front()); }
  absl::Status Read(absl::FunctionRef<bool(int64_t)> wanted, TakeChunk take) const override {
    Chunk chunk({.dimension = dimension(), .points = chunk_}, take);
    for (int64_t i = 0; i < points(); ++i) {
      if (wanted(i)) RETURN_IF_ERROR(chunk.Add(static_cast<PointId>(i), vectors_[i]));
    }
    return chunk.Flush();
  }

 private:
  const std::span<const std::vector<float>> vectors_;
  const int64_t chunk_;
};

absl::StatusOr<ClusterResult> Run(const PointSource& source, const ClusterParams& params,
                                  int64_t sample_bytes_max, SearchPoll poll,
                                  const CentroidMath& math) {
  const int64_t points = source.points();
  const int64_t dimension = source.dimension();
  const int64_t k = params.k;
  if (points < k) {
    return absl::InvalidArgumentError(
        StrCat("k is ", k, ", but there are only ", points, " points"));
  }
  const int64_t row_bytes = dimension * static_cast<int64_t>(sizeof(float));
  const int64_t sampled = std::min(
      {points, k * kTrainingRowsPerCentroid, std::max<int64_t>(sample_bytes_max / row_bytes, 0)});
  if (sampled < k) {
    return absl::ResourceExhaustedError(StrCat("k is ", k, ", but k-means may hold only ", sampled,
                                               " points of dimension ", dimension, " in ",
                                               sample_bytes_max, " bytes"));
  }
  const Metric metric = *params.metric;
  const bool spherical = metric != Metric::kL2;
  const auto prepare = [&](std::vector<float>& vectors) {
    if (metric != Metric::kCosine) return;
    for (size_t at = 0; at < vectors.size(); at += static_cast<size_t>(dimension)) {
      float* const vector = vectors.data() + at;
      if (std::any_of(vector, vector + dimension, [](float value) { return value != 0; })) {
        Normalize(vector, dimension);
      }
    }
  };

  std::vector<float> sample;
  sample.reserve(static_cast<size_t>(sampled * dimension));
  // Spread evenly: numbers at which the share of the sample grows.
  const auto in_sample = [&](int64_t number) {
    return (number + 1) * sampled / points != number * sampled / points;
  };
  RETURN_IF_ERROR(source.Read(in_sample, [&](const std::vector<PointId>&, std::vector<float>& v) {
    prepare(v);
    sample.insert(sample.end(), v.begin(), v.end());
    return poll();
  }));
  absl::Status polled;
  const auto stop = [&] {
    polled.Update(poll());
    return !polled.ok();
  };
  const auto ended = [&](const absl::Status& status) {
    return absl::IsCancelled(status) && !polled.ok() ? polled : status;
  };
  auto centroids = math.Train(
      {.vectors = sample.data(), .rows = sampled, .dimension = static_cast<int32_t>(dimension)},
      {.k = params.k, .iterations = params.iterations, .seed = params.seed, .spherical = spherical},
      stop);
  if (!centroids.ok()) return ended(centroids.status());
  sample = {};

  ClusterResult result{.points = points};
  result.clusters.resize(static_cast<size_t>(k));
  for (size_t c = 0; c < result.clusters.size(); ++c) {
    const float* const centroid = centroids->data() + c * static_cast<size_t>(dimension);
    result.clusters[c].centroid.assign(centroid, centroid + dimension);
  }
  const DistanceFn distance = DistanceFor(spherical ? Metric::kDot : Metric::kL2);
  double distances = 0;
  std::vector<uint32_t> nearest(static_cast<size_t>(math.rows_together()));
  const auto all = [](int64_t) { return true; };
  RETURN_IF_ERROR(source.Read(
      all, [&](const std::vector<PointId>& ids, std::vector<float>& vectors) -> absl::Status {
        prepare(vectors);
        const absl::Status status = math.Assign({.vectors = vectors.data(),
                                                 .rows = std::ssize(ids),
                                                 .dimension = static_cast<int32_t>(dimension)},
                                                *centroids, spherical, stop, nearest.data());
        if (!status.ok()) return ended(status);
        for (size_t i = 0; i < ids.size(); ++i) {
          Cluster& cluster = result.clusters[nearest[i]];
          ++cluster.points;
          float to_centroid = 0;
          distance(vectors.data() + i * static_cast<size_t>(dimension), cluster.centroid.data(), 1,
                   dimension, &to_centroid);
          distances += to_centroid;
          if (!params.with_assignment) continue;
          result.ids.push_back(ids[i]);
          result.cluster_of.push_back(static_cast<int32_t>(nearest[i]));
        }
        return absl::OkStatus();
      }));
  const double mean = distances / static_cast<double>(points);
  result.mean_score = spherical ? -mean : mean;
  return result;
}

}  // namespace

absl::StatusOr<ClusterResult> ClusterView(const CollectionView& view, const ClusterParams& params,
                                          int64_t sample_bytes_max, SearchPoll poll,
                                          const CentroidMath& math) {
  return Run(ViewSource(view, math.rows_together()), params, sample_bytes_max, poll, math);
}

absl::StatusOr<ClusterResult> ClusterVectors(std::span<const std::vector<float>> vectors,
                                             const ClusterParams& params, int64_t sample_bytes_max,
                                             SearchPoll poll, const CentroidMath& math) {
  return Run(VectorSource(vectors, math.rows_together()), params, sample_bytes_max, poll, math);
}

}  // namespace baton
