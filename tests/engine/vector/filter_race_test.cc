// Filtered searches, patches, the builder and a coming and going index at once; run under
// ThreadSanitizer.

#include <atomic>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/view_queries.h"
#include "tests/engine/vector/filter_harness.h"

namespace baton {
namespace {

constexpr int kVectorSize = 4;
constexpr int32_t kPairs = 150;
constexpr int64_t kValues = 3;

// Points come in pairs with equal payloads, which are patched by one write: in every view a filter
// matches both or none. (Not the test's thread: no Catch assertions here.)
std::string CheckPairs(const CollectionView& view, std::mt19937& random) {
  const auto filter = std::make_shared<Filter>(
      Condition{.field = "n", .test = Match{.any = {static_cast<int64_t>(random() % kValues)}}});
  const auto count = CountView(view, filter.get());
  if (!count.ok()) return count.status().ToString();
  const std::vector<std::vector<float>> queries = {RandomVector(random, kVectorSize)};
  SearchParams params{.k = 2 * kPairs, .exact = random() % 2 == 0, .filter = filter};
  std::vector<std::vector<Neighbor>> neighbors;
  const absl::Status status = SearchView(
      view, queries, params, [] { return absl::OkStatus(); }, &neighbors);
  if (!status.ok()) return status.ToString();
  if (static_cast<int64_t>(neighbors[0].size()) != *count) return "a search misses a match";
  std::set<PointId> ids;
  for (const Neighbor& neighbor : neighbors[0]) ids.insert(neighbor.id);
  if (static_cast<int64_t>(ids.size()) != *count) return "an id twice";
  for (const PointId id : ids) {
    if (!ids.contains(id < kPairs ? id + kPairs : id - kPairs)) return "half a pair";
  }
  // The index of this one comes and goes: it is there, or is being made, or there is none.
  const Filter other(Condition{.field = "other", .test = ContainsWords{"word"}});
  const auto others = CountView(view, &other);
  if (others.ok() ? *others != view.points() : !absl::IsFailedPrecondition(others.status())) {
    return others.ok() ? "an index that comes misses points" : others.status().ToString();
  }
  int64_t points = 0;
  const auto hits = FacetView(view, "n", nullptr, 100);
  if (!hits.ok()) return hits.status().ToString();
  for (const FacetHit& hit : *hits) points += hit.points;
  return points == view.points() ? "" : "a facet misses points";
}

TEST_CASE("filtered searches beside patches and the builder see whole writes only") {
  const TempDir dir;
  Metrics metrics;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 32;
  options.fsync_interval_ms = 5;
  auto opened = VectorStore::Open(options, metrics);
  REQUIRE_OK(opened);
  VectorStore& store = **opened;
  CollectionSpec spec = Spec("c", kVectorSize);
  spec.hnsw_m = 2;
  REQUIRE_OK(store.CreateCollection(spec, ""));
  REQUIRE_OK(store.CreatePayloadIndex("c", {"n", PayloadIndexKind::kInteger}));

  std::atomic<bool> stop = false;
  std::atomic<int> searches = 0;
  std::vector<std::string> errors(2);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < errors.size(); ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(static_cast<uint32_t>(150 + t));
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
  std::atomic<int> changes = 0;
  threads.emplace_back([&] {
    while (!stop) {
      const PayloadIndex other = {"other", PayloadIndexKind::kText};
      if (!store.CreatePayloadIndex("c", other).ok()) return;
      if (!store.DropPayloadIndex("c", other.field).ok()) return;
      ++changes;
    }
  });
  std::mt19937 random(170);
  for (int round = 0; round < 300; ++round) {
    std::vector<Write> writes(1 + random() % 2);
    for (Write& write : writes) {
      write.collection = "c";
      PayloadPatch patch;
      for (int i = 0; i < 6; ++i) {
        const PointId id = random() % kPairs;
        const Payload payload = {{"n", static_cast<int64_t>(random() % kValues)},
                                 {"other", "word " + std::to_string(random() % 9)}};
        if (random() % 6 == 0) {
          write.deletes.insert(write.deletes.end(), {id, id + kPairs});
        } else if (random() % 2 == 0) {
          const std::vector<float> vector = RandomVector(random, kVectorSize);
          write.upserts.push_back(MakePoint(id, vector, payload));
          write.upserts.push_back(MakePoint(id + kPairs, vector, payload));
        } else {
          patch.ids.insert(patch.ids.end(), {id, id + kPairs});
          patch.set = payload;
        }
      }
      if (!patch.ids.empty()) write.patches.push_back(std::move(patch));
    }
    for (const WriteResult& result : store.Commit(std::move(writes))) REQUIRE_OK(result.status);
    if (round % 20 == 0) {
      Write by_filter{.collection = "c"};
      by_filter.filter =
          std::make_shared<Filter>(Condition{.field = "n", .test = Match{.any = {int64_t{1}}}});
      by_filter.patches.push_back({.set = {{"n", int64_t{2}}}});
      REQUIRE_OK(CommitWrite(store, std::move(by_filter)).status);
    }
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) REQUIRE(error == "");
  REQUIRE(searches > 0);
  REQUIRE(changes > 0);
}

}  // namespace
}  // namespace baton
