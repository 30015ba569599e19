#include "engine/vector/view_search.h"

#include <algorithm>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

absl::Status GoOn() { return absl::OkStatus(); }

TEST_CASE("exact search equals the naive twin: metrics, ragged dimensions, sizes, ties") {
  const TempDir dir;
  Metrics metrics;
  auto store = VectorStore::Open(TestOptions(dir.path()), metrics);
  REQUIRE_OK(store);
  std::mt19937 random(11);
  int collections = 0;
  for (const Metric metric : {Metric::kCosine, Metric::kDot, Metric::kL2}) {
    for (const int dimension : {1, 3, 7, 16, 17, 100, 768}) {
      for (const int size : {0, 1, 2, 63, 64, 65, 300}) {
        if (dimension == 768 && size > 65) continue;
        CAPTURE(static_cast<int>(metric), dimension, size);
        const std::string name = "c" + std::to_string(++collections);
        CollectionSpec spec = Spec(name, dimension, metric);
        spec.hnsw_m = 2;  // so that walks pay here
        REQUIRE_OK((*store)->CreateCollection(spec, ""));
        Twin twin;
        std::vector<Point> points;
        for (int i = 0; i < size; ++i) {
          // Every third vector is a copy of another: ties, decided by id.
          std::vector<float> vector =
              i % 3 == 2 ? twin.begin()->second : RandomVector(random, dimension);
          const PointId id = random();
          if (!twin.emplace(id, vector).second) continue;
          points.push_back(MakePoint(id, vector));
        }
        if (!points.empty()) REQUIRE_OK(CommitOne(**store, name, points).status);
        if (size % 2 == 0) (*store)->WaitUntilIdle();
        const auto view = (*store)->View(name);
        REQUIRE_OK(view);
        for (const int32_t k : {1, 10, 1000}) {
          const std::vector<float> query = RandomVector(random, dimension);
          REQUIRE(Search(**view, query, {.k = k, .exact = true}) ==
                  NaiveSearch(twin, metric, query, k));
          // A graph walk finds k, with the very same distances.
          const std::vector<Neighbor> walked = Search(**view, query, {.k = k, .ef = 1});
          REQUIRE(walked.size() == std::min(twin.size(), static_cast<size_t>(k)));
          const std::vector<Neighbor> all = NaiveSearch(twin, metric, query, size);
          for (const Neighbor& neighbor : walked) {
            REQUIRE(std::find(all.begin(), all.end(), neighbor) != all.end());
          }
        }
        REQUIRE_OK((*store)->DropCollection(name));
      }
    }
  }
}

TEST_CASE("a batch of queries gets what each query gets alone") {
  const TempDir dir;
  Metrics metrics;
  auto store = VectorStore::Open(TestOptions(dir.path()), metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->CreateCollection(Spec("c", 24), ""));
  std::mt19937 random(12);
  std::vector<Point> points;
  for (PointId id = 0; id < 500; ++id) points.push_back(MakePoint(id, RandomVector(random, 24)));
  REQUIRE_OK(CommitOne(**store, "c", points).status);
  const auto view = (*store)->View("c");
  REQUIRE_OK(view);
  std::vector<std::vector<float>> queries;
  for (int i = 0; i < 101; ++i) queries.push_back(RandomVector(random, 24));
  for (const bool exact : {false, true}) {
    std::vector<std::vector<Neighbor>> together;
    const SearchParams params{.k = 7, .exact = exact};
    REQUIRE_OK(SearchView(**view, queries, params, GoOn, &together));
    REQUIRE(together.size() == queries.size());
    for (size_t i = 0; i < queries.size(); ++i) {
      REQUIRE(together[i] == Search(**view, queries[i], params));
    }
  }
}

// Clusters are what embeddings of real texts look like, and what graphs find hard.
TEST_CASE("graph search on clustered data: recall, with and without dead rows") {
  constexpr int kDimension = 32;
  constexpr int kPoints = 8'000;
  constexpr int kCenters = 200;
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = kPoints;  // one graph
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  CollectionSpec spec = Spec("c", kDimension, Metric::kCosine);
  spec.hnsw_m = 8;
  spec.hnsw_ef_construction = 80;
  REQUIRE_OK((*store)->CreateCollection(spec, ""));
  std::mt19937 random(13);
  std::vector<std::vector<float>> centers;
  for (int i = 0; i < kCenters; ++i) centers.push_back(RandomVector(random, kDimension));
  const auto near_a_center = [&] {
    std::vector<float> vector = centers[random() % kCenters];
    const std::vector<float> noise = RandomVector(random, kDimension);
    for (int i = 0; i < kDimension; ++i) vector[i] += 0.3f * noise[i];
    return vector;
  };
  std::vector<PointId> ids(kPoints);
  for (int i = 0; i < kPoints; ++i) ids[i] = static_cast<PointId>(i);
  std::shuffle(ids.begin(), ids.end(), random);
  for (int first = 0; first < kPoints; first += 4'000) {
    std::vector<Point> points;
    for (int i = first; i < first + 4'000; ++i)
      points.push_back(MakePoint(ids[i], near_a_center()));
    REQUIRE_OK(CommitOne(**store, "c", std::move(points)).status);
  }
  (*store)->WaitUntilIdle();
  REQUIRE((*store)->Describe("c")->segments == 1);
  REQUIRE((*store)->Describe("c")->points_unindexed == 0);

  const auto recall = [&] {
    const auto view = (*store)->View("c");
    REQUIRE_OK(view);
    int found = 0;
    int wanted = 0;
    for (int i = 0; i < 100; ++i) {
      const std::vector<float> query = near_a_center();
      const auto walked = Search(**view, query, {.k = 10, .ef = 128});
      const auto exact = Search(**view, query, {.k = 10, .exact = true});
      REQUIRE(walked.size() == 10);
      for (const Neighbor& neighbor : exact) {
        found += std::count(walked.begin(), walked.end(), neighbor);
        ++wanted;
      }
    }
    return static_cast<double>(found) / wanted;
  };
  REQUIRE(WalkPays(spec, kPoints, 128));
  REQUIRE(recall() >= 0.95);
  // Just not enough to have the segment rebuilt.
  ids.resize(kPoints / 5);
  REQUIRE_OK(CommitOne(**store, "c", {}, ids).status);
  REQUIRE((*store)->Describe("c")->points == kPoints - static_cast<int64_t>(ids.size()));
  REQUIRE(WalkPays(spec, kPoints, 128 * 5 / 4));  // more candidates, for those that are dead
  REQUIRE(recall() >= 0.95);
}

// Segments whose codes have steps of their own: rows of all are compared by them before the nearest
// are rescored.
TEST_CASE("a search of several segments finds the nearest rows of all") {
  constexpr int kPoints = 1800;  // of a segment
  constexpr int kLatent = 6;
  constexpr int kK = 10;
  constexpr int kQueries = 40;
  const Metric metric = GENERATE(Metric::kCosine, Metric::kDot, Metric::kL2);
  const int dimension = GENERATE(15, 24);  // walked by vectors, by codes
  CAPTURE(static_cast<int>(metric), dimension);
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = kPoints;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  CollectionSpec spec = Spec("c", dimension, metric);
  spec.hnsw_m = 8;
  REQUIRE_OK((*store)->CreateCollection(spec, ""));
  std::mt19937 random(17);
  const std::vector<float> matrix = RandomVector(random, kLatent * dimension);
  const auto draw = [&](float scale) {
    const std::vector<float> latent = RandomVector(random, kLatent);
    std::vector<float> vector(static_cast<size_t>(dimension));
    for (int j = 0; j < dimension; ++j) {
      for (int i = 0; i < kLatent; ++i) {
        vector[j] += scale * latent[i] * matrix[i * dimension + j];
      }
    }
    return vector;
  };
  Twin twin;
  PointId id = 0;
  for (const float scale : {1.0f, 6.0f, 0.8f}) {
    std::vector<Point> points;
    for (int i = 0; i < kPoints; ++i, ++id) {
      points.push_back(MakePoint(id, draw(scale)));
      twin[id] = points.back().vector;
    }
    REQUIRE_OK(CommitOne(**store, "c", std::move(points)).status);
    (*store)->WaitUntilIdle();
  }
  const auto view = (*store)->View("c");
  REQUIRE_OK(view);
  REQUIRE((*view)->segments().size() == 3);
  constexpr int32_t kEf = 20;
  REQUIRE(WalkPays((*view)->spec(), kPoints, kEf));
  int64_t right = 0;
  for (int i = 0; i < kQueries; ++i) {
    const std::vector<float> query = draw(1);
    const auto found = Search(**view, query, {.k = kK, .ef = kEf});
    const auto expected = NaiveSearch(twin, metric, query, kK);
    REQUIRE(found.size() == kK);
    for (const Neighbor& neighbor : found) {
      right += std::count(expected.begin(), expected.end(), neighbor);
    }
  }
  REQUIRE(right >= kQueries * kK * 95 / 100);
}

// On fresh queries, of what is like the points and of what is not.
TEST_CASE("a range is all within a score, exactly where that is asked") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 1000;
  auto store = *VectorStore::Open(options, metrics);
  const Metric metric = GENERATE(Metric::kL2, Metric::kCosine, Metric::kDot);
  CAPTURE(static_cast<int>(metric));
  constexpr int kDimension = 8;
  CollectionSpec spec = Spec("c", kDimension, metric);
  spec.hnsw_m = 4;
  REQUIRE_OK(store->CreateCollection(spec, ""));
  std::mt19937 random(15);
  Twin twin;
  std::vector<Point> points;
  for (PointId id = 0; id < 3500; ++id) {
    twin[id] = RandomVector(random, kDimension);
    points.push_back(MakePoint(id, twin[id]));
  }
  REQUIRE_OK(CommitOne(*store, "c", points).status);
  store->WaitUntilIdle();
  const auto view = *store->View("c");
  int64_t hits = 0;
  int64_t all_within = 0;
  for (int i = 0; i < 20; ++i) {
    const std::vector<float> query = RandomVector(random, kDimension);
    const auto all = NaiveSearch(twin, metric, query, 3500);
    const size_t count = random() % 800;
    // The score of a point is within.
    const SearchParams params{
        .k = 1000, .exact = true, .score_threshold = ScoreOf(metric, all[count].distance)};
    const std::vector<Neighbor> within(all.begin(), all.begin() + static_cast<int64_t>(count) + 1);
    REQUIRE(Search(*view, query, params) == within);
    SearchParams few = params;
    few.k = 100;
    const size_t left = std::min<size_t>(within.size(), 100);
    REQUIRE(Search(*view, query, few) ==
            std::vector<Neighbor>(within.begin(), within.begin() + static_cast<int64_t>(left)));
    SearchParams walked = params;
    walked.exact = false;
    for (const Neighbor& neighbor : Search(*view, query, walked)) {
      REQUIRE(std::count(within.begin(), within.end(), neighbor) == 1);
      ++hits;
    }
    all_within += std::ssize(within);
  }
  REQUIRE(hits >= all_within * 98 / 100);
}

TEST_CASE("a view of mostly dead rows still yields every live point") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 5000;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  CollectionSpec spec = Spec("c", 4);
  spec.hnsw_m = 4;
  spec.hnsw_ef_construction = 20;
  REQUIRE(WalkPays(spec, 5000, 20));
  REQUIRE_OK((*store)->CreateCollection(spec, ""));
  std::mt19937 random(14);
  std::vector<Point> points;
  for (PointId id = 0; id < 5000; ++id) points.push_back(MakePoint(id, RandomVector(random, 4)));
  REQUIRE_OK(CommitOne(**store, "c", points).status);
  (*store)->WaitUntilIdle();
  // All but every 500th are deleted; whether or not the segment is rebuilt meanwhile, a view finds
  // all that live, and exactly those.
  std::vector<PointId> deletes;
  Twin twin;
  for (const Point& point : points) {
    if (point.id % 500 != 0) deletes.push_back(point.id);
    if (point.id % 500 == 0) twin[point.id] = point.vector;
  }
  REQUIRE(CommitOne(**store, "c", {}, deletes).deleted == static_cast<int64_t>(deletes.size()));
  for (int round = 0; round < 2; ++round) {
    const auto view = (*store)->View("c");
    REQUIRE_OK(view);
    const std::vector<float> query = RandomVector(random, 4);
    for (const int32_t k : {1, 5, 10, 20}) {
      REQUIRE(Search(**view, query, {.k = k, .ef = 1}).size() == std::min<size_t>(k, 10));
    }
    REQUIRE(Search(**view, query, {.k = 10}) == NaiveSearch(twin, Metric::kL2, query, 10));
    (*store)->WaitUntilIdle();
  }
  // The rebuilt segment dropped the dead rows.
  const auto view = (*store)->View("c");
  REQUIRE_OK(view);
  REQUIRE((*view)->segments().size() == 1);
  REQUIRE((*view)->segments()[0].live == 10);
}

TEST_CASE("a search ends with the error of its poll") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 10'000;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  REQUIRE_OK((*store)->CreateCollection(Spec("c", 768), ""));
  std::mt19937 random(15);
  std::vector<Point> points;
  for (PointId id = 0; id < 6000; ++id) points.push_back(MakePoint(id, RandomVector(random, 768)));
  REQUIRE_OK(CommitOne(**store, "c", points).status);
  const auto view = (*store)->View("c");
  REQUIRE_OK(view);
  const std::vector<std::vector<float>> queries(40, points[0].vector);
  int polls = 0;
  std::vector<std::vector<Neighbor>> neighbors;
  REQUIRE_STATUS(SearchView(
                     **view, queries, {.k = 1, .exact = true},
                     [&polls]() -> absl::Status {
                       // Also within the scan for one block of queries, not only before it.
                       return ++polls < 5 ? absl::OkStatus() : absl::CancelledError("enough");
                     },
                     &neighbors),
                 absl::StatusCode::kCancelled, "enough");
  REQUIRE(polls == 5);
}

}  // namespace
}  // namespace baton
