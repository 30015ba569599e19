// Points whose ids are UUIDs, beside such with numbers.

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "engine/base/point_id.h"
#include "engine/vector/point_ids.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_queries.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr int kIds = 300;

// Numbers and UUIDs, some with the same lower or upper half.
PointId IdOf(uint64_t n) {
  if (n % 3 == 0) return n;
  return n % 3 == 1 ? MakePointId(n * 0x9e3779b97f4a7c15, n / 2) : MakePointId(77, n);
}

Condition HasIds(std::vector<PointId> ids) {
  Condition condition;
  condition.test = HasId{std::move(ids)};
  return condition;
}

struct Fixture {
  explicit Fixture(IndexKind index) : options(TestOptions(dir.path())) {
    Reopen();
    CollectionSpec spec = Spec("c", 4);
    spec.index = index;
    REQUIRE_OK(store->CreateCollection(spec, ""));
    REQUIRE_OK(store->CreatePayloadIndex("c", {.field = "g", .kind = PayloadIndexKind::kInteger}));
  }
  void Reopen() {
    store.reset();
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void Work() {
    Write write{.collection = "c"};
    std::set<PointId> touched;
    for (int i = 0; i < 30; ++i) {
      const PointId id = IdOf(random() % kIds);
      if (!touched.insert(id).second) continue;
      if (random() % 4 == 0) {
        write.deletes.push_back(id);
        twin.erase(id);
        continue;
      }
      // Few distinct vectors: the order of equal ones is that of their ids.
      std::vector<float> vector(4, static_cast<float>(random() % 20));
      twin[id] = vector;
      groups[id] = static_cast<int64_t>(random() % 5);
      write.upserts.push_back(MakePoint(id, std::move(vector), {{"g", groups[id]}}));
    }
    const PointId patched = IdOf(random() % kIds);
    PayloadPatch patch{.ids = {patched}};
    patch.set = {{"g", int64_t{9}}};
    write.patches.push_back(std::move(patch));
    if (twin.contains(patched)) groups[patched] = 9;
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    const std::vector<WriteResult> results = store->Commit(std::move(writes));
    REQUIRE_OK(results.at(0).status);
  }
  void Check() {
    const auto view = store->View("c");
    REQUIRE_OK(view);
    REQUIRE((*view)->points() == std::ssize(twin));
    const std::vector<float> query(4, 7);
    REQUIRE(Search(**view, query, {.k = 40, .exact = true}) ==
            NaiveSearch(twin, Metric::kL2, query, 40));
    // All of them by pages, in order.
    std::vector<PointId> scrolled;
    for (std::optional<PointId> next = 0; next.has_value();) {
      const auto page = ScrollView(**view, nullptr, *next, 17);
      REQUIRE_OK(page);
      scrolled.insert(scrolled.end(), page->ids.begin(), page->ids.end());
      next = page->next;
    }
    std::vector<PointId> all;
    for (const auto& [id, vector] : twin) all.push_back(id);
    REQUIRE(scrolled == all);
    // By id, in the order asked.
    std::shuffle(all.begin(), all.end(), random);
    const auto points = store->Get("c", all, true, true);
    REQUIRE_OK(points);
    REQUIRE(points->size() == all.size());
    for (size_t i = 0; i < all.size(); ++i) {
      REQUIRE((*points)[i].id == all[i]);
      REQUIRE((*points)[i].vector == twin.at(all[i]));
      REQUIRE((*points)[i].payload == Payload{{"g", groups.at(all[i])}});
    }
    // By id in a filter, of which some are not there.
    std::vector<PointId> some = {IdOf(1), IdOf(2), IdOf(3), IdOf(4), IdOf(100), IdOf(1000)};
    const Filter filter(HasIds(some));
    const auto count = CountView(**view, &filter);
    REQUIRE_OK(count);
    REQUIRE(*count == std::count_if(some.begin(), some.end(),
                                    [this](PointId id) { return twin.contains(id); }));
    // Groups tell points by id, too.
    std::vector<NeighborGroup> found;
    REQUIRE_OK(SearchViewGroups(
        **view, query, {.k = 6}, {.field = "g", .group_size = 3}, [] { return absl::OkStatus(); },
        &found));
    for (const NeighborGroup& group : found) {
      for (const Neighbor& neighbor : group.neighbors) {
        REQUIRE(FilterValue{groups.at(neighbor.id)} == group.value);
      }
    }
  }

  TempDir dir;
  Metrics metrics;
  VectorOptions options;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{23};
  Twin twin;
  std::map<PointId, int64_t> groups;
};

TEST_CASE("numbers and UUIDs are ids of one collection, wherever its points are") {
  Fixture f(GENERATE(IndexKind::kHnsw, IndexKind::kIvfSq));
  f.Work();
  f.Check();  // in the growing buffer
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 25; ++i) f.Work();
    f.Check();
    f.store->WaitUntilIdle();
    f.Check();  // sealed and merged
    f.Work();
    f.Reopen();
    f.Check();  // from files and pending writes
  }
  REQUIRE_OK(f.store->CreateSnapshot("s"));
  REQUIRE_OK(f.store->VerifySnapshot("s"));
  REQUIRE_OK(f.store->Verify());
  f.options.graph_files = false;
  f.Reopen();
  f.store->WaitUntilIdle();
  f.Check();  // from the points alone
  // Nothing is left of a dropped collection.
  REQUIRE_OK(f.store->DropCollection("c"));
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 4), ""));
  f.Reopen();
  REQUIRE(f.store->View("c").value()->points() == 0);
  REQUIRE(f.store->Get("c", std::vector<PointId>{IdOf(1), IdOf(2)}, true, true)->empty());
}

TEST_CASE("lists of ids take 8 bytes each until one is a UUID") {
  PointIdList list;
  for (const uint64_t id : {3, 5, 9}) list.push_back(id);
  REQUIRE(list.view().upper() == nullptr);
  REQUIRE(list.view().CountBelow(5) == 1);
  REQUIRE(list.view().CountBelow(MakePointId(1, 0)) == 3);
  list.push_back(MakePointId(1, 4));
  list.push_back(MakePointId(2, 0));
  const PointIds ids = list.view();
  REQUIRE(ids.upper() != nullptr);
  REQUIRE(std::vector<PointId>(ids.begin(), ids.end()) ==
          std::vector<PointId>{3, 5, 9, MakePointId(1, 4), MakePointId(2, 0)});
  REQUIRE(ids.CountBelow(0) == 0);
  REQUIRE(ids.CountBelow(10) == 3);
  REQUIRE(ids.CountBelow(MakePointId(1, 5)) == 4);
  REQUIRE(ids.CountBelow(MakePointId(3, 0)) == 5);
  REQUIRE(ids.From(3, 2)[1] == MakePointId(2, 0));
}

}  // namespace
}  // namespace baton
