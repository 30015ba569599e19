#include "engine/vector/view_clusters.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int64_t kSampleBytes = 1 << 20;

absl::Status GoOn() { return absl::OkStatus(); }

double Score(Metric metric, const std::vector<float>& a, const std::vector<float>& b) {
  const std::vector<float> scaled = Scaled(metric, a);
  double dot = 0, squares = 0;
  for (size_t j = 0; j < a.size(); ++j) {
    dot += double{scaled[j]} * b[j];
    squares += (double{scaled[j]} - b[j]) * (double{scaled[j]} - b[j]);
  }
  return metric == Metric::kL2 ? squares : dot;
}

// What the result says of the points that it was made of, computed the plain way.
void CheckClusters(const ClusterResult& result, const Twin& twin, const ClusterParams& params) {
  REQUIRE(std::ssize(result.clusters) == params.k);
  REQUIRE(result.points == std::ssize(twin));
  REQUIRE(result.ids.size() == twin.size());
  REQUIRE(result.cluster_of.size() == twin.size());
  const Metric metric = *params.metric;
  std::vector<int64_t> points(result.clusters.size());
  std::map<PointId, int32_t> seen;
  double sum = 0;
  for (size_t i = 0; i < result.ids.size(); ++i) {
    const int32_t cluster = result.cluster_of[i];
    REQUIRE(seen.emplace(result.ids[i], cluster).second);
    const std::vector<float>& vector = twin.at(result.ids[i]);
    const double own = Score(metric, vector, result.clusters[cluster].centroid);
    for (const Cluster& other : result.clusters) {
      const double score = Score(metric, vector, other.centroid);
      const double better = metric == Metric::kL2 ? own - score : score - own;
      REQUIRE(better < 1e-3 * (1 + std::abs(own)));
    }
    ++points[cluster];
    sum += own;
  }
  for (size_t c = 0; c < points.size(); ++c) CHECK(points[c] == result.clusters[c].points);
  CHECK(result.mean_score == Approx(sum / static_cast<double>(twin.size())).epsilon(1e-3));
}

TEST_CASE("a view's live points are clustered, wherever they lie") {
  const Metric collection_metric = GENERATE(Metric::kL2, Metric::kCosine);
  TempDir dir;
  Metrics metrics;
  auto store = VectorStore::Open(TestOptions(dir.path()), metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->CreateCollection(Spec("c", 9, collection_metric), ""));
  std::mt19937 random(71);
  Twin twin;
  const std::vector<float> centers = RandomVector(random, 5 * 9);
  std::vector<Point> points;
  for (uint64_t id = 1; id <= 300; ++id) {
    std::vector<float> vector = RandomVector(random, 9);
    for (size_t j = 0; j < 9; ++j) vector[j] = 0.1f * vector[j] + 4 * centers[id % 5 * 9 + j];
    points.push_back(MakePoint(id, vector));
    twin[id] = Scaled(collection_metric, vector);
  }
  REQUIRE_OK(CommitOne(**store, "c", std::move(points)).status);
  (*store)->WaitUntilIdle();
  REQUIRE_OK(CommitOne(**store, "c", {MakePoint(1000, std::vector<float>(9, 1))}, {3, 250}).status);
  twin[1000] = Scaled(collection_metric, std::vector<float>(9, 1));
  twin.erase(3);
  twin.erase(250);
  const auto view = (*store)->View("c");
  REQUIRE_OK(view);
  REQUIRE(!(*view)->segments().empty());
  for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kDot}) {
    const ClusterParams params{.k = 6, .metric = metric, .with_assignment = true};
    const auto result = ClusterView(**view, params, kSampleBytes, GoOn);
    REQUIRE_OK(result);
    CheckClusters(*result, twin, params);
    const auto again = ClusterView(**view, params, kSampleBytes, GoOn);
    REQUIRE_OK(again);
    CHECK(again->cluster_of == result->cluster_of);
    CHECK(again->mean_score == result->mean_score);
    // A sample of 20 points, and all of them counted.
    const auto sampled = ClusterView(**view, params, 20 * 9 * 4, GoOn);
    REQUIRE_OK(sampled);
    CheckClusters(*sampled, twin, params);
  }
  const auto plain = ClusterView(**view, {.k = 2, .metric = Metric::kL2}, kSampleBytes, GoOn);
  REQUIRE_OK(plain);
  CHECK(plain->ids.empty());
  CHECK(plain->cluster_of.empty());
}

TEST_CASE("vectors are clustered, as many as they are") {
  std::mt19937 random(72);
  std::vector<std::vector<float>> vectors;
  Twin twin;
  for (PointId i = 0; i < 3000; ++i) {
    vectors.push_back(RandomVector(random, 3));
    twin[i] = vectors.back();
  }
  vectors[5].assign(3, 0);  // has no direction
  twin[5] = vectors[5];
  const ClusterParams params{.k = 17, .metric = Metric::kL2, .with_assignment = true};
  const auto result = ClusterVectors(vectors, params, kSampleBytes, GoOn);
  REQUIRE_OK(result);
  CheckClusters(*result, twin, params);
  REQUIRE_OK(ClusterVectors(vectors, {.k = 4, .metric = Metric::kCosine}, kSampleBytes, GoOn));

  const std::vector<std::vector<float>> few(vectors.begin(), vectors.begin() + 4);
  const auto each = ClusterVectors(few, {.k = 4, .metric = Metric::kL2}, kSampleBytes, GoOn);
  REQUIRE_OK(each);
  for (const Cluster& cluster : each->clusters) CHECK(cluster.points == 1);
  CHECK(each->mean_score == Approx(0).margin(1e-6));
}

TEST_CASE("too few points and too little memory are refused, and polls end it") {
  std::mt19937 random(73);
  std::vector<std::vector<float>> vectors;
  for (int i = 0; i < 5000; ++i) vectors.push_back(RandomVector(random, 8));
  const ClusterParams params{.k = 100, .metric = Metric::kL2};
  REQUIRE_STATUS(ClusterVectors(std::span(vectors).first(99), params, kSampleBytes, GoOn),
                 absl::StatusCode::kInvalidArgument, "k is 100, but there are only 99 points");
  REQUIRE_STATUS(ClusterVectors(vectors, params, 99 * 32, GoOn),
                 absl::StatusCode::kResourceExhausted, "only 99 points of dimension 8");
  for (const int after : {0, 1, 4, 8, 12}) {
    int polls = 0;
    const auto poll = [&]() -> absl::Status {
      if (polls++ < after) return absl::OkStatus();
      return absl::DeadlineExceededError("enough");
    };
    REQUIRE_STATUS(ClusterVectors(vectors, params, kSampleBytes, poll),
                   absl::StatusCode::kDeadlineExceeded, "enough");
  }
}

}  // namespace
}  // namespace baton
