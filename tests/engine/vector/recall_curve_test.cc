#include "engine/vector/recall_curve.h"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/segment.h"
#include "engine/vector/view_search.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("a recall that is asked for is met, and not by comparing with all") {
  const bool clustered = GENERATE(true, false);
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine);
  CAPTURE(clustered, static_cast<int>(metric));
  constexpr int kDimension = 32;
  constexpr int kPoints = 20'000;
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = kPoints / 2;
  auto store = *VectorStore::Open(options, metrics);
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.hnsw_m = 8;
  spec.hnsw_ef_construction = 80;
  REQUIRE_OK(store->CreateCollection(spec, ""));
  std::mt19937 random(14);
  std::vector<std::vector<float>> centers;
  for (int i = 0; i < 300; ++i) centers.push_back(RandomVector(random, kDimension));
  const auto draw = [&] {
    std::vector<float> vector = RandomVector(random, kDimension);
    if (!clustered) return vector;
    const std::vector<float>& center = centers[random() % centers.size()];
    for (int i = 0; i < kDimension; ++i) vector[i] = center[i] + 0.3f * vector[i];
    return vector;
  };
  for (PointId first = 0; first < kPoints; first += 5'000) {
    std::vector<Point> points;
    for (PointId id = first; id < first + 5'000; ++id) points.push_back(MakePoint(id, draw()));
    REQUIRE_OK(CommitOne(*store, "c", std::move(points)).status);
    store->WaitUntilIdle();  // two full buffers that wait together become one segment
  }
  // What was measured is there after opening.
  store.reset();
  store = *VectorStore::Open(options, metrics);
  const auto view = *store->View("c");
  REQUIRE(view->segments().size() == 2);
  REQUIRE(view->buffers().empty());
  for (const int32_t k : {1, 10, 100}) {
    std::vector<std::vector<float>> queries;
    std::vector<std::vector<Neighbor>> nearest;
    for (int i = 0; i < 300; ++i) {
      queries.push_back(draw());
      nearest.push_back(Search(*view, queries.back(), {.k = k, .exact = true}));
    }
    for (const double target : {0.8, 0.9, 0.95, 0.99}) {
      CAPTURE(k, target);
      double found = 0;
      for (size_t i = 0; i < queries.size(); ++i) {
        const auto walked = Search(*view, queries[i], {.k = k, .recall_target = target});
        for (const Neighbor& neighbor : walked) {
          found += std::count(nearest[i].begin(), nearest[i].end(), neighbor) > 0 ? 1 : 0;
        }
      }
      const double recall = found / k / static_cast<double>(queries.size());
      const int64_t ef = view->segments()[0].segment->recall().EfFor(target, k);
      REQUIRE(recall >= target - 0.01);
      // No walk pays here that finds more of what has no clusters.
      if (target <= (clustered ? 0.95 : 0.8) && k <= 10) {
        REQUIRE(ef > 0);
        REQUIRE(WalkPays(spec, kPoints / 2, ef));
      }
    }
  }
}

TEST_CASE("a recall curve is kept as it is, and nothing else is taken for one") {
  REQUIRE(RecallCurve().Encode().empty());
  REQUIRE(RecallCurve::Decode("").has_value());
  REQUIRE(!RecallCurve::Decode("x").has_value());
  const std::string encoded(2 * RecallCurve::kLevels.size() * sizeof(uint32_t), '\1');
  REQUIRE(RecallCurve::Decode(encoded)->Encode() == encoded);
  REQUIRE(RecallCurve::Decode(encoded)->EfFor(0.9, 10) == 0x01010101);
  REQUIRE(!RecallCurve::Decode(encoded + "x").has_value());
  REQUIRE(!RecallCurve::Decode(encoded.substr(1)).has_value());
  // Where nothing was measured: never fewer than k, and no fewer for more.
  for (const int64_t k : {1, 9, 10, 11, 50, 99, 100, 101, 5'000}) {
    int64_t last = 0;
    for (const double target : {0.5, 0.51, 0.9, 0.925, 0.93, 0.99, 0.999}) {
      const int64_t ef = RecallCurve().EfFor(target, k);
      REQUIRE(ef >= k);
      REQUIRE(ef >= last);
      last = ef;
    }
  }
}

}  // namespace
}  // namespace baton
