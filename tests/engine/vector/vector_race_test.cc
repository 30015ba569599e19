// A writer, searchers, the builder, snapshots and a reader of descriptions at once; run under
// ThreadSanitizer.

#include <atomic>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/snapshot.h"
#include "engine/vector/vector_store.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kDimension = 4;
constexpr int32_t kPairs = 150;

// Points come in pairs, id and id + kPairs, always written together with the same vector: whoever
// sees one without the other, or two versions, has seen half a write. (Not the test's thread: no
// Catch assertions here.)
std::string CheckPairs(const CollectionView& view, std::mt19937& random) {
  std::vector<std::vector<float>> queries = {RandomVector(random, kDimension)};
  const SearchParams params{.k = 2 * kPairs, .exact = random() % 2 == 0};
  std::vector<std::vector<Neighbor>> neighbors;
  const absl::Status status = SearchView(
      view, queries, params, [] { return absl::OkStatus(); }, &neighbors);
  if (!status.ok()) return status.ToString();
  if (static_cast<int64_t>(neighbors[0].size()) != view.points()) {
    return "found " + std::to_string(neighbors[0].size()) + " of " + std::to_string(view.points());
  }
  std::map<PointId, float> distances;
  for (const Neighbor& neighbor : neighbors[0]) {
    if (!distances.emplace(neighbor.id, neighbor.distance).second) return "an id twice";
  }
  for (const auto& [id, distance] : distances) {
    const auto partner = distances.find(id < kPairs ? id + kPairs : id - kPairs);
    if (partner == distances.end()) return "half a pair";
    if (partner->second != distance) return "two versions of a pair";
  }
  return "";
}

TEST_CASE("searches beside a writer and the builder see whole writes only") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 32;
  options.fsync_interval_ms = 5;
  auto opened = VectorStore::Open(options, metrics);
  REQUIRE_OK(opened);
  VectorStore& store = **opened;
  CollectionSpec spec = Spec("c", kDimension);
  spec.hnsw_m = 2;  // so that segments this small are searched by their graphs
  REQUIRE_OK(store.CreateCollection(spec, ""));

  std::atomic<bool> stop = false;
  std::atomic<int> searches = 0;
  std::vector<std::string> errors(4);
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(50 + t));
      std::vector<std::shared_ptr<const CollectionView>> kept;  // some views live longer
      while (!stop && errors[t].empty()) {
        const auto view = store.View("c");
        if (!view.ok()) continue;
        errors[t] = CheckPairs(**view, random);
        if (random() % 16 == 0) kept.push_back(*view);
        if (kept.size() > 4) {
          if (errors[t].empty()) errors[t] = CheckPairs(*kept.front(), random);
          kept.erase(kept.begin());
        }
        ++searches;
      }
    });
  }
  threads.emplace_back([&] {
    std::mt19937 random(60);
    while (!stop) {
      for (const CollectionInfo& info : store.List()) {
        if (info.points_unindexed > info.points) errors[2] = "more unindexed than points";
      }
      const PointId id = random() % kPairs;
      const auto points = store.Get("c", std::vector<PointId>{id, id + kPairs}, true, true);
      if (points.ok() && points->size() == 2 && points->at(0).vector != points->at(1).vector) {
        errors[2] = "Get returned two versions of a pair";
      }
    }
  });

  threads.emplace_back([&] {
    for (int i = 0; !stop && errors[3].empty(); ++i) {
      const std::string name = "s" + std::to_string(i);
      const auto info = store.CreateSnapshot(name);
      if (!info.ok()) {
        errors[3] = info.status().ToString();
        break;
      }
      const auto report = store.VerifySnapshot(name);
      if (!report.ok()) {
        errors[3] = report.status().ToString();
      } else if (!report->problems.empty()) {
        errors[3] = report->problems[0];
      }
      store.ScrubNow();
      const absl::Status deleted = store.DeleteSnapshot(name);
      if (!deleted.ok()) errors[3] = deleted.ToString();
    }
  });

  std::mt19937 random(70);
  Twin twin;
  for (int round = 0; round < 400; ++round) {
    std::vector<Write> writes(1 + random() % 2);
    for (Write& write : writes) {
      write.collection = "c";
      for (int i = 0; i < 5; ++i) {
        const PointId id = random() % kPairs;
        if (random() % 4 == 0) {
          write.deletes.insert(write.deletes.end(), {id, id + kPairs});
        } else {
          const std::vector<float> vector = RandomVector(random, kDimension);
          write.upserts.push_back(MakePoint(id, vector));
          write.upserts.push_back(MakePoint(id + kPairs, vector));
        }
      }
      for (const PointId id : write.deletes) twin.erase(id);
      for (const Point& point : write.upserts) twin[point.id] = point.vector;
    }
    for (const WriteResult& result : store.Commit(writes)) REQUIRE_OK(result.status);
    // Collections come and go meanwhile.
    if (round % 50 == 10) REQUIRE_OK(store.CreateCollection(Spec("other", 2), ""));
    if (round % 50 > 10) {
      std::vector<Point> points;
      for (PointId id = 0; id < 40; ++id) points.push_back(MakePoint(id, {1, 2}));
      REQUIRE_OK(CommitOne(store, "other", points).status);
    }
    if (round % 50 == 49) REQUIRE_OK(store.DropCollection("other"));
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) REQUIRE(error == "");
  REQUIRE(searches > 0);
  store.WaitUntilIdle();
  const auto view = store.View("c");
  REQUIRE_OK(view);
  const std::vector<float> query = RandomVector(random, kDimension);
  REQUIRE(Search(**view, query, {.k = 1000}) == NaiveSearch(twin, Metric::kL2, query, 1000));
}

TEST_CASE("a store is closed while its builder is busy") {
  std::mt19937 random(80);
  for (int round = 0; round < 5; ++round) {
    const TempDir dir;
    Metrics metrics;
    VectorOptions options = TestOptions(dir.path());
    options.seal_points = 1000;
    auto store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    REQUIRE_OK((*store)->CreateCollection(Spec("c", 16), ""));
    std::vector<Point> points;
    for (PointId id = 0; id < 1500; ++id) points.push_back(MakePoint(id, RandomVector(random, 16)));
    REQUIRE_OK(CommitOne(**store, "c", points).status);
    store->reset();
    store = VectorStore::Open(options, metrics);
    REQUIRE_OK(store);
    REQUIRE((*store)->Describe("c")->points == 1500);
  }
}

}  // namespace
}  // namespace baton
