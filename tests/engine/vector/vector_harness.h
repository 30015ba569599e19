#pragma once

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "catch2/catch.hpp"
#include "engine/base/metrics.h"
#include "engine/base/point_id.h"
#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_search.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {

// Small segments, so that few points make many; no sync, which only costs time here.
inline VectorOptions TestOptions(const std::string& data_dir) {
  VectorOptions options;
  options.data_dir = data_dir;
  options.fsync = "interval";
  options.seal_points = 64;
  options.build_nice = 0;      // or a busy machine makes minutes of what a test waits for
  options.merge_quiet_ms = 0;  // or segments would depend on how long a test takes
  options.disk_reserve_mb = 0;
  return options;
}

inline std::vector<float> RandomVector(std::mt19937& random, int dimension) {
  std::normal_distribution<float> normal;
  std::vector<float> vector(static_cast<size_t>(dimension));
  for (float& value : vector) value = normal(random);
  return vector;
}

inline CollectionSpec Spec(std::string name, int32_t dimension, Metric metric = Metric::kL2) {
  return {.name = std::move(name), .dimension = dimension, .metric = metric};
}

inline Point MakePoint(PointId id, std::vector<float> vector, Payload payload = {}) {
  Point point;
  point.id = id;
  point.vector = std::move(vector);
  point.payload = std::move(payload);
  return point;
}

inline WriteResult CommitOne(VectorStore& store, const std::string& collection,
                             std::vector<Point> upserts, std::vector<PointId> deletes = {}) {
  Write write{
      .collection = collection, .upserts = std::move(upserts), .deletes = std::move(deletes)};
  std::vector<Write> writes;
  writes.push_back(std::move(write));
  return store.Commit(std::move(writes)).at(0);
}

inline std::vector<Neighbor> Search(const CollectionView& view, std::vector<float> query,
                                    const SearchParams& params) {
  REQUIRE_OK(PrepareQuery(view, query));
  std::vector<std::vector<Neighbor>> neighbors;
  REQUIRE_OK(SearchView(
      view, std::span(&query, 1), params, [] { return absl::OkStatus(); }, &neighbors));
  REQUIRE(neighbors.size() == 1);
  return neighbors[0];
}

// The distance as distance.h defines it, one step at a time.
inline float NaiveDistance(Metric metric, const std::vector<float>& a,
                           const std::vector<float>& b) {
  float sums[32] = {};
  for (size_t i = 0; i < a.size(); ++i) {
    const volatile float factor_a = metric == Metric::kL2 ? a[i] - b[i] : a[i];
    const volatile float factor_b = metric == Metric::kL2 ? factor_a : b[i];
    const volatile float product = factor_a * factor_b;  // volatile: no contraction
    sums[i % 32] += product;
  }
  for (int half = 16; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) sums[i] += sums[i + half];
  }
  return metric == Metric::kL2 ? sums[0] : -sums[0];
}

// What a store should hold, kept the plain way.
using Twin = std::map<PointId, std::vector<float>>;

inline std::vector<float> Scaled(Metric metric, std::vector<float> vector) {
  if (metric != Metric::kCosine) return vector;
  double sum = 0;
  for (const float value : vector) sum += double{value} * value;
  for (float& value : vector) value = static_cast<float>(value / std::sqrt(sum));
  return vector;
}

inline std::vector<Neighbor> NaiveSearch(const Twin& twin, Metric metric,
                                         const std::vector<float>& query, int32_t k) {
  const std::vector<float> scaled_query = Scaled(metric, query);
  std::vector<Neighbor> all;
  for (const auto& [id, vector] : twin) {
    all.push_back({NaiveDistance(metric, scaled_query, Scaled(metric, vector)), id});
  }
  std::sort(all.begin(), all.end());
  all.resize(std::min(all.size(), static_cast<size_t>(k)));
  return all;
}

}  // namespace baton

namespace Catch {
template <>
struct StringMaker<baton::Neighbor> {
  static std::string convert(const baton::Neighbor& neighbor) {
    return "(" + baton::IdText(neighbor.id) + " at " + std::to_string(neighbor.distance) + ")";
  }
};
}  // namespace Catch
