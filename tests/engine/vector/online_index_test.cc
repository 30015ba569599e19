// Payload indexes that are made and dropped while points come, change and go: whenever one looks,
// filters find what the payloads say.

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/vector/point_db_codec.h"
#include "engine/vector/snapshot.h"
#include "engine/vector/view_queries.h"
#include "engine/vector/view_text.h"
#include "rocksdb/db.h"
#include "tests/engine/vector/filter_harness.h"

namespace baton {
namespace {

constexpr int kVectorDimension = 4;
constexpr uint64_t kIdsEnd = 700;

bool HasNamed(PointId id) { return id % 3 != 0; }

struct OnlineFixture {
  OnlineFixture() : options(TestOptions(dir.path())) {
    Open();
    CollectionSpec spec = Spec("c", kVectorDimension);
    spec.hnsw_m = 4;
    spec.hnsw_ef_construction = 20;
    spec.vectors = {Spec("", 3)};
    spec.vectors[0].vector_name = "other";
    REQUIRE_OK(store->CreateCollection(spec, ""));
  }
  void Open() {
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void Reopen() {
    store.reset();
    Open();
  }
  // One write of all kinds.
  void Write(size_t upserts) {
    baton::Write write{.collection = "c"};
    for (size_t n = 0; n < upserts; ++n) {
      const PointId id = random() % kIdsEnd;
      Point point = MakePoint(id, RandomVector(random, kVectorDimension), RandomPayload(random));
      if (HasNamed(id)) point.named.push_back({"other", RandomVector(random, 3)});
      write.upserts.push_back(std::move(point));
    }
    for (size_t n = random() % 4; n > 0; --n) write.deletes.push_back(random() % kIdsEnd);
    PayloadPatch& patch = write.patches.emplace_back();
    for (size_t n = 1 + random() % 6; n > 0; --n) patch.ids.push_back(random() % kIdsEnd);
    patch.set = RandomPayload(random);
    patch.set["n"] = static_cast<int64_t>(random() % 20) - 10;
    for (const PointId id : write.deletes) twin.erase(id);
    for (const Point& point : write.upserts) twin[point.id] = point;
    for (const PayloadPatch& one : write.patches) ApplyPatch(twin, one);
    REQUIRE_OK(CommitWrite(*store, std::move(write)).status);
  }
  // What a filter finds, of the collection and of its named vector: all matches, and the nearest.
  void Check(const Filter& filter) {
    for (const bool named : {false, true}) {
      const auto view = store->View("c", named ? "other" : "");
      REQUIRE_OK(view);
      auto found = MatchingIds(**view, filter, static_cast<int64_t>(kIdsEnd));
      REQUIRE_OK(found);
      std::sort(found->begin(), found->end());
      std::vector<PointId> expected;
      for (const auto& [id, point] : twin) {
        if (named && point.named.empty()) continue;
        if (NaiveMatches(filter, id, point.payload)) expected.push_back(id);
      }
      REQUIRE(*found == expected);
      const std::vector<std::vector<float>> queries = {
          RandomVector(random, named ? 3 : kVectorDimension)};
      SearchParams params{.k = 10, .exact = random() % 2 == 0};
      params.filter = std::make_shared<Filter>(filter);
      std::vector<std::vector<Neighbor>> neighbors;
      REQUIRE_OK(SearchView(
          **view, queries, params, [] { return absl::OkStatus(); }, &neighbors));
      REQUIRE(neighbors[0].size() == std::min<size_t>(10, expected.size()));
      for (const Neighbor& neighbor : neighbors[0]) {
        REQUIRE(std::binary_search(expected.begin(), expected.end(), neighbor.id));
      }
    }
  }
  // Conditions on one field.
  Filter FilterOn(const std::string& field) {
    while (true) {
      Filter filter = RandomFilter(random, kIdsEnd);
      bool asks_it = false;
      bool asks_others = false;
      for (const Filter::Node& node : filter.nodes()) {
        if (!node.condition.has_value() || node.condition->field.empty()) continue;
        (node.condition->field == field ? asks_it : asks_others) = true;
      }
      if (asks_it && !asks_others) return filter;
    }
  }

  TempDir dir;
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{20'261'122};
  PointTwin twin;
};

TEST_CASE("an index is made while points come, change and go") {
  OnlineFixture f;
  for (int i = 0; i < 20; ++i) f.Write(40);
  f.store->WaitUntilIdle();
  for (int i = 0; i < 2; ++i) f.Write(20);  // some in buffers
  for (const PayloadIndex& index : TestIndexes()) {
    INFO(index.field);
    int polls = 0;
    int64_t done = 0;
    bool has_begun = false;
    REQUIRE_OK(f.store->CreatePayloadIndex("c", index, [&]() -> absl::Status {
      const auto info = f.store->Describe("c");
      // Named vectors may have it a moment later.
      const bool is_coming = !info->coming_indexes.empty();
      has_begun = has_begun || is_coming;
      if (!has_begun) return absl::OkStatus();  // a merge is being finished
      ++polls;
      if (polls > 40) return absl::OkStatus();  // else there would be more rows forever
      REQUIRE(is_coming !=
              (std::count(info->payload_indexes.begin(), info->payload_indexes.end(), index) == 1));
      if (is_coming) {
        REQUIRE(info->coming_indexes[0].index == index);
        REQUIRE(info->coming_indexes[0].points_done <= info->points);
        done = std::max(done, info->coming_indexes[0].points_done);
      }
      f.Write(random() % 40);
      if (random() % 3 == 0) f.store->WaitUntilIdle();
      f.Check(f.FilterOn(index.field));
      const auto view = f.store->View("c");
      if (is_coming && index.kind == PayloadIndexKind::kKeyword) {
        const auto facet = FacetView(**view, index.field, nullptr, 10);
        REQUIRE(facet.status().code() == absl::StatusCode::kUnavailable);
        CHECK(facet.status().message().find("is being made") != std::string::npos);
      }
      return absl::OkStatus();
    }));
    REQUIRE(polls > 2);
    REQUIRE(done > 0);
    REQUIRE(f.store->Describe("c")->coming_indexes.empty());
    for (int i = 0; i < 10; ++i) f.Check(f.FilterOn(index.field));
  }
  f.store->WaitUntilIdle();
  for (const bool reopen : {false, true}) {
    if (reopen) f.Reopen();
    REQUIRE(f.store->Describe("c")->payload_indexes == TestIndexes());
    for (int i = 0; i < 40; ++i) f.Check(RandomFilter(f.random, kIdsEnd));
    f.Write(20);
    for (int i = 0; i < 10; ++i) f.Check(RandomFilter(f.random, kIdsEnd));
  }
}

TEST_CASE("patches while an index is made are there after a restart") {
  OnlineFixture f;
  for (int i = 0; i < 12; ++i) f.Write(40);
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[1]));
  f.store->WaitUntilIdle();
  int polls = 0;
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[3], [&]() -> absl::Status {
    if (++polls <= 20) f.Write(0);  // patches alone
    return absl::OkStatus();
  }));
  REQUIRE(polls > 2);
  for (const bool idle : {false, true}) {
    if (idle) f.store->WaitUntilIdle();  // sidecars are in files
    f.Reopen();
    for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("n"));
    for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("color"));
    f.Write(0);
  }
}

TEST_CASE("an index is dropped while points come, change and go") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.Write(40);
  for (const PayloadIndex& index : TestIndexes()) {
    REQUIRE_OK(f.store->CreatePayloadIndex("c", index));
  }
  for (const PayloadIndex& index : TestIndexes()) {
    f.Write(20);
    REQUIRE_OK(f.store->DropPayloadIndex("c", index.field));
    const auto view = f.store->View("c");
    const Filter filter = f.FilterOn(index.field);
    CHECK(CountView(**view, &filter).status().code() == absl::StatusCode::kFailedPrecondition);
    f.Write(20);
    if (&index != &TestIndexes().back()) {
      for (int i = 0; i < 10; ++i) f.Check(f.FilterOn(TestIndexes().back().field));
    }
  }
  CHECK(f.store->Describe("c")->payload_indexes.empty());
}

TEST_CASE("an index that a stop kept from being made is made at the next start") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.Write(40);
  int polls = 0;
  const auto stop = [&] {
    return ++polls > 3 ? absl::CancelledError("closing") : absl::OkStatus();
  };
  const absl::Status stopped = f.store->CreatePayloadIndex("c", TestIndexes()[3], stop);
  REQUIRE(absl::IsCancelled(stopped));
  REQUIRE(f.store->Describe("c")->payload_indexes.empty());
  f.Write(20);
  f.Reopen();
  REQUIRE(f.store->Describe("c")->payload_indexes.size() == 1);
  for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("n"));
}

TEST_CASE("an index that cannot be made is not there") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.Write(40);
  const PointId damaged = f.twin.begin()->first;
  const uint32_t id = 1;
  f.store.reset();
  {
    rocksdb::DB* db = nullptr;
    REQUIRE(rocksdb::DB::Open(rocksdb::Options(), DatabaseDirectory(f.dir.path()), &db).ok());
    const std::unique_ptr<rocksdb::DB> closing(db);
    REQUIRE(db->Put({}, PointKey('P', id, damaged), "no payload").ok());
  }
  f.Open();
  for (const bool reopened : {false, true}) {
    if (reopened) f.Reopen();
    const absl::Status status = f.store->CreatePayloadIndex("c", TestIndexes()[3]);
    REQUIRE(status.code() == absl::StatusCode::kDataLoss);
    REQUIRE(f.store->Describe("c")->payload_indexes.empty());
  }
  // Written anew it is whole again.
  baton::Write write{.collection = "c"};
  write.upserts.push_back(f.twin.begin()->second);
  REQUIRE_OK(CommitWrite(*f.store, std::move(write)).status);
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[3]));
  for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("n"));
}

TEST_CASE("a view taken while an index was made answers, and after the store was closed says so") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.Write(40);
  std::shared_ptr<const CollectionView> kept;
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[3], [&]() -> absl::Status {
    const auto view = *f.store->View("c");
    if (kept == nullptr && view->change() != nullptr) kept = view;
    return absl::OkStatus();
  }));
  const Filter filter(Condition{.field = "n", .test = InRange{Bounds<int64_t>{.gte = 0}}});
  const auto expected = static_cast<int64_t>(MatchingTwin(f.twin, filter).size());
  for (int i = 0; i < 5; ++i) f.Write(30);
  REQUIRE_OK(CountView(*kept, &filter));
  CHECK(*CountView(*kept, &filter) == expected);
  f.store.reset();
  CHECK(CountView(*kept, &filter).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("a collection that is dropped while an index is made") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.Write(40);
  const absl::Status status =
      f.store->CreatePayloadIndex("c", TestIndexes()[3], [&]() -> absl::Status {
        f.store->DropCollection("c").IgnoreError();
        return absl::OkStatus();
      });
  CHECK(status.code() == absl::StatusCode::kNotFound);
  f.Reopen();
  CHECK(f.store->List().empty());
}

}  // namespace
}  // namespace baton
