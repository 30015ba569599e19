#include "engine/vector/vector_store.h"

#include <random>
#include <string>
#include <vector>

#include "engine/vector/collection.h"
#include "engine/vector/segment.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

struct Fixture {
  explicit Fixture(VectorOptions options) {
    options.data_dir = dir.path();
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = std::move(*opened);
  }
  Fixture() : Fixture(TestOptions("")) {}

  std::vector<PointId> Ids(const std::string& collection) {
    const auto view = store->View(collection);
    REQUIRE_OK(view);
    std::vector<PointId> ids;
    for (const Neighbor& neighbor :
         Search(**view, std::vector<float>((*view)->spec().dimension, 1), {.k = 10'000})) {
      ids.push_back(neighbor.id);
    }
    std::sort(ids.begin(), ids.end());
    return ids;
  }

  TempDir dir;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
};

TEST_CASE("collections are created, listed, described and dropped") {
  Fixture f;
  REQUIRE(f.store->List().empty());
  REQUIRE_OK(f.store->CreateCollection(Spec("b", 3), "lexical"));
  REQUIRE_OK(f.store->CreateCollection(Spec("a", 4, Metric::kDot), ""));
  REQUIRE_STATUS(f.store->CreateCollection(Spec("a", 4), ""), absl::StatusCode::kAlreadyExists,
                 "\"a\" exists already");
  REQUIRE_STATUS(f.store->CreateCollection(Spec("c", 0), ""), absl::StatusCode::kInvalidArgument,
                 "dimension is 0");
  const std::vector<CollectionInfo> list = f.store->List();
  REQUIRE(list.size() == 2);
  REQUIRE(list[0].spec.name == "a");
  REQUIRE(list[0].spec.metric == Metric::kDot);
  REQUIRE(list[1].embedder == "lexical");
  REQUIRE_STATUS(f.store->Describe("x"), absl::StatusCode::kNotFound, "\"x\" does not exist");
  REQUIRE_STATUS(f.store->View("x"), absl::StatusCode::kNotFound, "\"x\"");
  REQUIRE_STATUS(f.store->Get("x", {}, true, true), absl::StatusCode::kNotFound, "\"x\"");
  REQUIRE_STATUS(f.store->DropCollection("x"), absl::StatusCode::kNotFound, "\"x\"");
  REQUIRE_STATUS(CommitOne(*f.store, "x", {MakePoint(1, {1})}).status, absl::StatusCode::kNotFound,
                 "\"x\"");

  REQUIRE_OK(CommitOne(*f.store, "b", {MakePoint(1, {1, 2, 3})}).status);
  const auto view = f.store->View("b");
  REQUIRE_OK(view);
  REQUIRE_OK(f.store->DropCollection("b"));
  REQUIRE_STATUS(f.store->View("b"), absl::StatusCode::kNotFound, "\"b\"");
  REQUIRE(Search(**view, {1, 2, 3}, {.k = 5}).size() == 1);  // a view taken before stays valid
  // The next one of that name starts empty.
  REQUIRE_OK(f.store->CreateCollection(Spec("b", 3), ""));
  REQUIRE(f.store->Describe("b")->points == 0);
  REQUIRE(f.store->Get("b", std::vector<PointId>{1}, true, true)->empty());
}

TEST_CASE("points are inserted, replaced, deleted and brought back, unsealed or sealed") {
  Fixture f;
  const bool sealed = GENERATE(false, true);
  CollectionSpec spec = Spec("c", 2);
  spec.hnsw_m = 2;
  REQUIRE_OK(f.store->CreateCollection(spec, ""));
  std::vector<Point> filler;
  for (PointId id = 1000; id < (sealed ? 1200 : 1010); ++id) {
    filler.push_back(MakePoint(id, {1e6, static_cast<float>(id)}));
  }
  WriteResult result = CommitOne(*f.store, "c", {MakePoint(1, {0, 0}), MakePoint(2, {5, 0})});
  REQUIRE_OK(result.status);
  REQUIRE(result.upserted == 2);
  REQUIRE_OK(CommitOne(*f.store, "c", filler).status);
  f.store->WaitUntilIdle();
  REQUIRE((f.store->Describe("c")->segments > 0) == sealed);
  const auto points = static_cast<int64_t>(2 + filler.size());
  REQUIRE(f.store->Describe("c")->points == points);
  const auto nearest = [&] {
    const auto view = f.store->View("c");
    REQUIRE_OK(view);
    const auto exact = Search(**view, {0, 0}, {.k = 1, .exact = true});
    REQUIRE(exact == Search(**view, {0, 0}, {.k = 1, .ef = 1}));
    return exact[0];
  };
  REQUIRE(nearest() == Neighbor{0, 1});
  // Replaced: the old version is not found any more.
  REQUIRE(CommitOne(*f.store, "c", {MakePoint(1, {9, 0})}).upserted == 1);
  REQUIRE(nearest() == Neighbor{25, 2});
  REQUIRE(f.store->Describe("c")->points == points);
  // Deleted, together with one that does not exist and twice.
  REQUIRE(CommitOne(*f.store, "c", {}, {2, 77, 2}).deleted == 1);
  REQUIRE(nearest() == Neighbor{81, 1});
  REQUIRE(CommitOne(*f.store, "c", {}, {2}).deleted == 0);
  // Brought back.
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(2, {1, 0})}).status);
  REQUIRE(nearest() == Neighbor{1, 2});
  // Both in one write: deletes come first. The last upsert of an id wins.
  result = CommitOne(*f.store, "c", {MakePoint(2, {7, 0}), MakePoint(2, {2, 0})}, {2, 1});
  REQUIRE_OK(result.status);
  REQUIRE(result.upserted == 1);
  REQUIRE(result.deleted == 1);
  REQUIRE(nearest() == Neighbor{4, 2});
  REQUIRE(f.store->Describe("c")->points == points - 1);
}

TEST_CASE("Get returns points as they were written, in the order asked") {
  Fixture f;
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 2, Metric::kCosine), ""));
  const Payload payload = {{"text", std::string("hello")}, {"n", int64_t{5}}};
  REQUIRE_OK(CommitOne(*f.store, "c",
                       {MakePoint(1, {3, 4}, payload), MakePoint(2, {1, 0}),
                        MakePoint(UINT64_MAX, {0, 2})})
                 .status);
  const std::vector<PointId> ids = {UINT64_MAX, 9, 1, 2};
  auto points = f.store->Get("c", ids, true, true);
  REQUIRE_OK(points);
  REQUIRE(points->size() == 3);
  REQUIRE((*points)[0].id == UINT64_MAX);
  REQUIRE((*points)[1].id == 1);
  REQUIRE((*points)[1].vector == std::vector<float>{3, 4});  // not scaled
  REQUIRE((*points)[1].payload == payload);
  REQUIRE((*points)[2].payload.empty());
  points = f.store->Get("c", ids, false, true);
  REQUIRE(points->size() == 3);
  REQUIRE((*points)[1].vector.empty());
  points = f.store->Get("c", ids, true, false);
  REQUIRE(points->size() == 3);
  REQUIRE((*points)[1].payload.empty());
  REQUIRE(f.store->Get("c", ids, false, false)->size() == 3);
  // Replaced as a whole, payload too.
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(1, {1, 1})}).status);
  REQUIRE(f.store->Get("c", std::vector<PointId>{1}, true, true)->at(0).payload.empty());
  REQUIRE_OK(CommitOne(*f.store, "c", {}, {1}).status);
  REQUIRE(f.store->Get("c", std::vector<PointId>{1}, true, false)->empty());
}

TEST_CASE("a group commit stores its valid writes and refuses the others, each for its reason") {
  VectorOptions options = TestOptions("");
  options.write_points_max = 3;
  options.points_max = 5;
  options.collections_max = 2;
  Fixture f(options);
  REQUIRE_OK(f.store->CreateCollection(Spec("a", 1), ""));
  REQUIRE_OK(f.store->CreateCollection(Spec("b", 2), ""));
  REQUIRE_STATUS(f.store->CreateCollection(Spec("c", 2), ""), absl::StatusCode::kResourceExhausted,
                 "vector.collections_max is 2");
  std::vector<Write> writes;
  writes.push_back({.collection = "a", .upserts = {MakePoint(1, {1}), MakePoint(2, {1})}});
  writes.push_back({.collection = "b", .upserts = {MakePoint(1, {1, 1}), MakePoint(2, {1})}});
  writes.push_back({.collection = "x", .upserts = {MakePoint(1, {1})}});
  writes.push_back({.collection = "a", .deletes = {1}});
  writes.push_back({.collection = "a"});
  writes.push_back({.collection = "a", .upserts = std::vector<Point>(4, MakePoint(9, {1}))});
  writes.push_back({.collection = "a", .deletes = {1, 2, 3, 4}});
  writes.push_back({.collection = "b",
                    .upserts = {MakePoint(7, {1, 1}), MakePoint(8, {1, 1}), MakePoint(9, {1, 1})}});
  writes.push_back({.collection = "b", .upserts = {MakePoint(7, {2, 2})}});
  const std::vector<Write> copy = writes;
  const std::vector<WriteResult> results = f.store->Commit(std::move(writes));
  REQUIRE(results.size() == 9);
  REQUIRE(results[0].upserted == 2);
  REQUIRE_STATUS(results[1].status, absl::StatusCode::kInvalidArgument,
                 "points[1].vector has 1 value, but collection \"b\" has dimension 2");
  REQUIRE_STATUS(results[2].status, absl::StatusCode::kNotFound, "\"x\"");
  REQUIRE(results[3].deleted == 1);
  REQUIRE_STATUS(results[4].status, absl::StatusCode::kInvalidArgument, "points is empty");
  REQUIRE_STATUS(results[5].status, absl::StatusCode::kInvalidArgument,
                 "points has 4 entries, allowed is 3");
  REQUIRE_STATUS(results[6].status, absl::StatusCode::kInvalidArgument,
                 "ids has 4 entries, allowed is 3");
  REQUIRE_OK(results[7].status);
  REQUIRE_STATUS(results[8].status, absl::StatusCode::kResourceExhausted, "vector.points_max, 5");
  for (const size_t i : {1, 2, 4, 5, 6}) {
    REQUIRE(f.store->CheckWrite(copy[i]) == results[i].status);
  }
  REQUIRE_OK(f.store->CheckWrite(copy[0]));
  REQUIRE(f.Ids("a") == std::vector<PointId>{2});
  REQUIRE(f.Ids("b") == std::vector<PointId>{7, 8, 9});
  // At the limit, what exists can still be replaced.
  REQUIRE_OK(CommitOne(*f.store, "a", {MakePoint(3, {1})}).status);
  REQUIRE_STATUS(CommitOne(*f.store, "a", {MakePoint(4, {1})}).status,
                 absl::StatusCode::kResourceExhausted, "there are 5 points, 1 more");
  REQUIRE_OK(CommitOne(*f.store, "a", {MakePoint(3, {2})}).status);
  REQUIRE_OK(f.store->DropCollection("b"));
  REQUIRE_OK(CommitOne(*f.store, "a", {MakePoint(4, {1})}).status);
}

TEST_CASE("a view is a snapshot: what is written, sealed and merged later does not change it") {
  Fixture f;
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 3), ""));
  std::mt19937 random(21);
  Twin twin;
  std::vector<std::pair<std::shared_ptr<const CollectionView>, Twin>> snapshots;
  for (int round = 0; round < 60; ++round) {
    Write write{.collection = "c"};
    for (int i = 0; i < 20; ++i) {
      const PointId id = random() % 400;
      if (random() % 3 == 0) {
        write.deletes.push_back(id);
      } else {
        write.upserts.push_back(MakePoint(id, RandomVector(random, 3)));
      }
    }
    for (const PointId id : write.deletes) twin.erase(id);
    for (const Point& point : write.upserts) twin[point.id] = point.vector;
    REQUIRE_OK(CommitOne(*f.store, "c", write.upserts, write.deletes).status);
    const auto view = f.store->View("c");
    REQUIRE_OK(view);
    REQUIRE((*view)->points() == static_cast<int64_t>(twin.size()));
    snapshots.emplace_back(*view, twin);
  }
  f.store->WaitUntilIdle();
  for (const auto& [view, expected] : snapshots) {
    const std::vector<float> query = RandomVector(random, 3);
    for (const bool exact : {false, true}) {
      REQUIRE(Search(*view, query, {.k = 500, .exact = exact}) ==
              NaiveSearch(expected, Metric::kL2, query, 500));
    }
  }
}

TEST_CASE("the number of segments stays small, whatever the number of points") {
  VectorOptions options = TestOptions("");
  options.seal_points = 16;
  Fixture f(options);
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 2), ""));
  std::mt19937 random(22);
  PointId id = 0;
  for (int round = 0; round < 90; ++round) {
    std::vector<Point> points;
    for (int i = 0; i < 16; ++i) points.push_back(MakePoint(++id, RandomVector(random, 2)));
    REQUIRE_OK(CommitOne(*f.store, "c", points).status);
    f.store->WaitUntilIdle();
    REQUIRE(f.store->Describe("c")->points_unindexed == 0);
    REQUIRE(f.store->Describe("c")->segments <= 12);  // 3 each of 16, 64, 256 and 1024
  }
  REQUIRE(f.Ids("c").size() == 90 * 16);
}

TEST_CASE("points, unindexed points, writes and commits are counted") {
  Fixture f;
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 1), ""));
  std::vector<Point> points;
  for (PointId id = 0; id < 70; ++id) points.push_back(MakePoint(id, {1}));
  REQUIRE_OK(CommitOne(*f.store, "c", points).status);
  f.store->WaitUntilIdle();
  REQUIRE(f.metrics.Gauge(MetricId::kPoints, {"c"}).Value() == 70);
  REQUIRE(f.metrics.Gauge(MetricId::kPointsUnindexed, {"c"}).Value() == 6);
  REQUIRE(f.store->Describe("c")->points_unindexed == 6);
  REQUIRE(f.metrics.Counter(MetricId::kPointsWritten).Value() == 70);
  REQUIRE(f.metrics.Histogram(MetricId::kWriteCommitSeconds).Collect().histogram.sample_count == 1);
  REQUIRE_OK(CommitOne(*f.store, "c", {}, {1, 2}).status);
  REQUIRE(f.metrics.Gauge(MetricId::kPoints, {"c"}).Value() == 68);
}

TEST_CASE("where memory is short upserts are refused and deleting goes on") {
  Fixture f;
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 1), ""));
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(1, {1}), MakePoint(2, {1})}).status);
  f.store->SetMemoryFree((int64_t{64} << 20) - 1);
  REQUIRE_STATUS(CommitOne(*f.store, "c", {MakePoint(3, {1})}).status,
                 absl::StatusCode::kResourceExhausted,
                 "vector.memory_reserve_mb is 64, but only 63 MiB of memory are free; retry in");
  REQUIRE_OK(CommitOne(*f.store, "c", {}, {1}).status);
  REQUIRE(f.store->Describe("c")->points == 1);
  f.store->SetMemoryFree(int64_t{64} << 20);
  REQUIRE_OK(CommitOne(*f.store, "c", {MakePoint(3, {1})}).status);
}

TEST_CASE("where it is not said when a buffer is sealed, it is by the dimension") {
  const auto points = [](int32_t dimension, int64_t seal_points = 0) {
    VectorOptions options;
    options.seal_points = seal_points;
    return SealPointsFor(options, dimension);
  };
  CHECK(points(0) == 32'768);
  CHECK(points(128) == 32'768);
  CHECK(points(256) == 16'384);
  CHECK(points(768) == 8192);
  CHECK(points(65'536) == 8192);
  CHECK(points(768, 16) == 16);
  CHECK(points(4, 100'000) == 100'000);
  VectorOptions few;
  few.unindexed_points_max = 1000;
  CHECK(SealPointsFor(few, 128) == 500);

  const TempDir dir;
  Metrics metrics;
  few.data_dir = dir.File("data");
  CHECK(VectorStore::Open(few, metrics).ok());
  few.seal_points = 1000;
  REQUIRE_STATUS(VectorStore::Open(few, metrics).status(), absl::StatusCode::kInvalidArgument,
                 "vector.unindexed_points_max is 1000: it must be more than vector.seal_points");
}

TEST_CASE("what the store takes of the disk is told, until a collection is gone") {
  Fixture f;
  REQUIRE_OK(f.store->CreateCollection(Spec("c", 1), ""));
  std::vector<Point> points;
  for (PointId id = 0; id < 70; ++id) points.push_back(MakePoint(id, {1}));
  REQUIRE_OK(CommitOne(*f.store, "c", points).status);
  f.store->WaitUntilIdle();
  f.store->TellUsage();
  REQUIRE(f.metrics.Gauge(MetricId::kSegments, {"c"}).Value() >= 1);
  int64_t bytes = 0;
  for (const auto& file : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    bytes += static_cast<int64_t>(file.file_size());
  }
  REQUIRE(bytes > 64 * 4);
  REQUIRE(f.metrics.Gauge(MetricId::kCollectionBytes, {"c"}).Value() == bytes);
  REQUIRE(f.metrics.Gauge(MetricId::kStoreBytes).Value() > 0);
  REQUIRE(f.metrics.Gauge(MetricId::kStoreUnflushedBytes).Value() > 0);
  const double total = f.metrics.Gauge(MetricId::kDiskBytes, {"total"}).Value();
  REQUIRE(f.metrics.Gauge(MetricId::kDiskBytes, {"free"}).Value() <= total);
  REQUIRE_OK(f.store->DropCollection("c"));
  f.store->TellUsage();
  for (const auto& family : f.metrics.registry()->Collect()) {
    if (family.name == "baton_collection_disk_bytes") REQUIRE(family.metric.empty());
    if (family.name == "baton_segments") REQUIRE(family.metric.empty());
  }
}

}  // namespace
}  // namespace baton
