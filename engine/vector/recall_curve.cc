#include "engine/vector/recall_curve.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <span>
#include <vector>

#include "engine/vector/byte_codec.h"
#include "engine/vector/distance.h"
#include "engine/vector/segment.h"
#include "engine/vector/top_k.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/view_search.h"

namespace baton {
namespace {

constexpr int32_t kFew = 10;
constexpr int32_t kMany = 100;

// Some percent of what building the graph takes, at 200 candidates for each row.
constexpr int64_t kRowsPerQuery = 128;
constexpr int64_t kQueriesMin = 128;
constexpr int64_t kQueriesMax = 256;

constexpr int64_t kTileRows = 256;
constexpr int64_t kEfMax = 8192;

// Not measured: an estimate, on the safe side for links of 16 and 100,000 rows.
constexpr std::array<uint32_t, RecallCurve::kLevels.size()> kDefaultFew = {
    16, 16, 24, 24, 32, 40, 48, 64, 96, 112, 128, 160, 224, 320, 512, 1536};
constexpr std::array<uint32_t, RecallCurve::kLevels.size()> kDefaultMany = {
    100, 100, 100, 120, 140, 160, 180, 200, 260, 300, 340, 400, 500, 700, 1000, 3000};

struct Query {
  std::vector<float> vector;
  // Of the neighbor that is the last of so many; of all, where there are fewer.
  float few = 0;
  float many = 0;
};

// Where rows lie around: their mean, of some of them; under the other metrics, by which only
// directions count or the origin is a place of its own, that.
std::vector<double> CenterOf(const CollectionSpec& spec, const Segment& segment) {
  std::vector<double> center(static_cast<size_t>(spec.dimension));
  if (spec.metric != Metric::kL2) return center;
  constexpr int64_t kSample = 1024;
  const int64_t step = std::max<int64_t>(1, segment.rows() / kSample);
  std::vector<float> vector(center.size());
  int64_t count = 0;
  for (int64_t row = 0; row < segment.rows(); row += step, ++count) {
    segment.ReadVectors(row, 1, vector.data());
    for (size_t i = 0; i < center.size(); ++i) center[i] += vector[i];
  }
  for (double& value : center) value /= static_cast<double>(count);
  return center;
}

// The squared distance of a row's nearest neighbor that is no copy of it, as far as a walk finds
// it.
double NearestOf(const CollectionSpec& spec, const Segment& segment, int64_t row,
                 const std::vector<float>& vector) {
  std::vector<GraphNeighbor> found;
  segment.index().graph()->Search(
      vector.data(), 32, 8, [row](int64_t other) { return other != row; }, &found);
  const DistanceFn distance = DistanceFor(Metric::kL2);
  std::vector<float> other(vector.size());
  float nearest = 0;
  for (const GraphNeighbor& neighbor : found) {
    segment.ReadVectors(neighbor.row, 1, other.data());
    float squared = 0;
    distance(vector.data(), other.data(), 1, spec.dimension, &squared);
    if (squared > 0 && (nearest == 0 || squared < nearest)) nearest = squared;
  }
  return nearest;
}

// A row, moved by the distance of its nearest neighbor in a random direction, around the center: as
// far from it as before, as other rows are.
std::vector<float> MoveRow(const CollectionSpec& spec, const Segment& segment,
                           const std::vector<double>& center, int64_t row, std::mt19937& random) {
  std::vector<float> query(center.size());
  segment.ReadVectors(row, 1, query.data());
  const double nearest = NearestOf(spec, segment, row, query);
  std::normal_distribution<double> normal;
  std::vector<double> outward(center.size());
  std::vector<double> sideward(center.size());
  double squares = 0;
  double product = 0;
  for (size_t i = 0; i < center.size(); ++i) {
    outward[i] = query[i] - center[i];
    sideward[i] = normal(random);
    squares += outward[i] * outward[i];
    product += outward[i] * sideward[i];
  }
  if (squares == 0 || nearest == 0) return query;
  double side_squares = 0;
  for (size_t i = 0; i < center.size(); ++i) {
    sideward[i] -= product / squares * outward[i];
    side_squares += sideward[i] * sideward[i];
  }
  if (side_squares == 0) return query;  // of one dimension
  // The chord of an angle on the sphere through the row.
  const double cosine = std::clamp(1 - nearest / (2 * squares), -1.0, 1.0);
  const double side = std::sqrt((1 - cosine * cosine) * squares / side_squares);
  for (size_t i = 0; i < center.size(); ++i) {
    query[i] = static_cast<float>(center[i] + cosine * outward[i] + side * sideward[i]);
  }
  if (spec.metric == Metric::kCosine) Normalize(query.data(), spec.dimension);
  return query;
}

// The distances up to which rows are among the nearest. False where it was stopped.
bool CompareAll(const CollectionSpec& spec, const Segment& segment, std::span<Query> queries,
                absl::FunctionRef<bool()> stop) {
  const DistanceFn distance = DistanceFor(spec.metric);
  std::vector<TopK> tops(queries.size(), TopK(kMany, segment.rows()));
  std::vector<float> tile(static_cast<size_t>(kTileRows * spec.dimension));
  float distances[kTileRows];
  for (int64_t first = 0; first < segment.rows(); first += kTileRows) {
    if (stop()) return false;
    const int64_t count = std::min(kTileRows, segment.rows() - first);
    segment.ReadVectors(first, count, tile.data());
    for (size_t query = 0; query < queries.size(); ++query) {
      distance(queries[query].vector.data(), tile.data(), count, spec.dimension, distances);
      for (int64_t i = 0; i < count; ++i) {
        tops[query].Add({distances[i], static_cast<PointId>(first + i)});
      }
    }
  }
  for (size_t query = 0; query < queries.size(); ++query) {
    const std::vector<Neighbor> nearest = tops[query].Take();
    queries[query].few = nearest[std::min<size_t>(kFew, nearest.size()) - 1].distance;
    queries[query].many = nearest.back().distance;
  }
  return true;
}

// The recall of walks that keep `ef` candidates, less what it may be off by.
double RecallAt(const Segment& segment, std::span<const Query> queries, int64_t ef, int32_t k) {
  std::vector<GraphNeighbor> found;
  const double wanted = std::min<double>(k, static_cast<double>(segment.rows()));
  double sum = 0;
  double squares = 0;
  for (const Query& query : queries) {
    segment.index().graph()->Search(
        query.vector.data(), ef, k, [](int64_t) { return true; }, &found);
    const float farthest = k == kFew ? query.few : query.many;
    const auto hits = static_cast<double>(std::count_if(
        found.begin(), found.end(),
        [farthest](const GraphNeighbor& neighbor) { return neighbor.distance <= farthest; }));
    const double recall = std::min(hits, wanted) / wanted;
    sum += recall;
    squares += recall * recall;
  }
  const auto count = static_cast<double>(queries.size());
  const double mean = sum / count;
  const double variance = std::max(0.0, squares / count - mean * mean);
  return mean - std::sqrt(variance / count);
}

}  // namespace

RecallCurve::RecallCurve() : few_(kDefaultFew), many_(kDefaultMany) {}

absl::StatusOr<RecallCurve> RecallCurve::Measure(const CollectionSpec& spec, const Segment& segment,
                                                 absl::FunctionRef<bool()> stop) {
  const auto pays = [&](int64_t ef) { return WalkPays(spec, segment.rows(), ef); };
  if (segment.index().graph() == nullptr || !pays(kFew)) return RecallCurve();
  std::mt19937 random(1);
  std::vector<Query> queries;
  const std::vector<double> center = CenterOf(spec, segment);
  const int64_t count = std::clamp(segment.rows() / kRowsPerQuery, kQueriesMin, kQueriesMax);
  for (int64_t i = 0; i < count; ++i) {
    const auto row = static_cast<int64_t>(random() % static_cast<uint64_t>(segment.rows()));
    queries.push_back({.vector = MoveRow(spec, segment, center, row, random)});
  }
  if (!CompareAll(spec, segment, queries, stop)) return absl::CancelledError("closing");
  const auto measure = [&](int32_t k, Efs& efs) {
    efs.fill(0);
    size_t level = 0;
    for (int64_t ef = k; pays(ef) && ef <= kEfMax && level < efs.size(); ef += ef / 4 + 1) {
      if (stop()) return false;
      const double recall = RecallAt(segment, queries, ef, k);
      for (; level < efs.size() && recall >= kLevels[level]; ++level) {
        efs[level] = static_cast<uint32_t>(ef);
      }
    }
    return true;
  };
  RecallCurve curve;
  curve.measured_ = true;
  if (!measure(kFew, curve.few_) || !measure(kMany, curve.many_)) {
    return absl::CancelledError("closing");
  }
  return curve;
}

int64_t RecallCurve::EfFor(double target, int64_t k) const {
  const auto level = static_cast<size_t>(
      std::lower_bound(kLevels.begin(), kLevels.end() - 1, target) - kLevels.begin());
  const auto few = int64_t{few_[level]};
  const auto many = int64_t{many_[level]};
  if (few == 0 || k <= kFew) return few == 0 ? 0 : std::max(few, k);
  // Where no walk of so many candidates pays that finds 100, one for fewer may.
  if (many == 0) return k < kMany / 2 ? (few * k + kFew - 1) / kFew : 0;
  if (k >= kMany) return (many * k + kMany - 1) / kMany;
  return std::max(k, few + (std::max(many, few) - few) * (k - kFew) / (kMany - kFew));
}

std::string RecallCurve::Encode() const {
  std::string encoded;
  if (!measured_) return encoded;
  for (const Efs& efs : {few_, many_}) {
    for (const uint32_t ef : efs) AppendNumber(encoded, ef);
  }
  return encoded;
}

std::optional<RecallCurve> RecallCurve::Decode(std::string_view encoded) {
  RecallCurve curve;
  if (encoded.empty()) return curve;
  curve.measured_ = true;
  ByteReader reader(encoded);
  for (Efs* efs : {&curve.few_, &curve.many_}) {
    for (uint32_t& ef : *efs) {
      const auto read = reader.Take<uint32_t>();
      if (!read.has_value()) return std::nullopt;
      ef = *read;
    }
  }
  return reader.at_end() ? std::optional(curve) : std::nullopt;
}

}  // namespace baton
