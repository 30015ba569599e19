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
#include "tests/engine/vector/payload_store.h"

namespace baton {
namespace {

struct OnlineFixture : PayloadStore {
  OnlineFixture() : PayloadStore(700, 20'261'122) {}
  // What a filter finds, of the collection and of its named vector: all matches, and the nearest.
  void Check(const Filter& filter) {
    for (const bool named : {false, true}) {
      const auto view = store->View("c", named ? "other" : "");
      REQUIRE_OK(view);
      const std::vector<PointId> expected = CheckMatches(**view, named, filter);
      const std::vector<std::vector<float>> queries = {
          RandomVector(random, named ? kOtherDimension : kDimension)};
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
      Filter filter = RandomFilter(random, ids);
      bool asks_it = false;
      bool asks_others = false;
      for (const Filter::Node& node : filter.nodes()) {
        if (!node.condition.has_value() || node.condition->field.empty()) continue;
        (node.condition->field == field ? asks_it : asks_others) = true;
      }
      if (asks_it && !asks_others) return filter;
    }
  }
};

TEST_CASE("an index is made while points come, change and go") {
  OnlineFixture f;
  for (int i = 0; i < 20; ++i) f.WriteOnce(40);
  f.store->WaitUntilIdle();
  for (int i = 0; i < 2; ++i) f.WriteOnce(20);  // some in buffers
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
      f.WriteOnce(random() % 40);
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
    for (int i = 0; i < 40; ++i) f.Check(RandomFilter(f.random, f.ids));
    f.WriteOnce(20);
    for (int i = 0; i < 10; ++i) f.Check(RandomFilter(f.random, f.ids));
  }
}

TEST_CASE("patches while an index is made are there after a restart") {
  OnlineFixture f;
  for (int i = 0; i < 12; ++i) f.WriteOnce(40);
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[1]));
  f.store->WaitUntilIdle();
  int polls = 0;
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[3], [&]() -> absl::Status {
    if (++polls <= 20) f.WriteOnce(0);  // patches alone
    return absl::OkStatus();
  }));
  REQUIRE(polls > 2);
  for (const bool idle : {false, true}) {
    if (idle) f.store->WaitUntilIdle();  // sidecars are in files
    f.Reopen();
    for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("n"));
    for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("color"));
    f.WriteOnce(0);
  }
}

TEST_CASE("an index is dropped while points come, change and go") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.WriteOnce(40);
  for (const PayloadIndex& index : TestIndexes()) {
    REQUIRE_OK(f.store->CreatePayloadIndex("c", index));
  }
  for (const PayloadIndex& index : TestIndexes()) {
    f.WriteOnce(20);
    REQUIRE_OK(f.store->DropPayloadIndex("c", index.field));
    const auto view = f.store->View("c");
    const Filter filter = f.FilterOn(index.field);
    CHECK(CountView(**view, &filter).status().code() == absl::StatusCode::kFailedPrecondition);
    f.WriteOnce(20);
    if (&index != &TestIndexes().back()) {
      for (int i = 0; i < 10; ++i) f.Check(f.FilterOn(TestIndexes().back().field));
    }
  }
  CHECK(f.store->Describe("c")->payload_indexes.empty());
}

TEST_CASE("an index that a stop kept from being made is made at the next start") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.WriteOnce(40);
  int polls = 0;
  const auto stop = [&] {
    return ++polls > 3 ? absl::CancelledError("closing") : absl::OkStatus();
  };
  const absl::Status stopped = f.store->CreatePayloadIndex("c", TestIndexes()[3], stop);
  REQUIRE(absl::IsCancelled(stopped));
  REQUIRE(f.store->Describe("c")->payload_indexes.empty());
  f.WriteOnce(20);
  f.Reopen();
  REQUIRE(f.store->Describe("c")->payload_indexes.size() == 1);
  for (int i = 0; i < 20; ++i) f.Check(f.FilterOn("n"));
}

TEST_CASE("an index that cannot be made is not there") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.WriteOnce(40);
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
  for (int i = 0; i < 10; ++i) f.WriteOnce(40);
  std::shared_ptr<const CollectionView> kept;
  REQUIRE_OK(f.store->CreatePayloadIndex("c", TestIndexes()[3], [&]() -> absl::Status {
    const auto view = *f.store->View("c");
    if (kept == nullptr && view->change() != nullptr) kept = view;
    return absl::OkStatus();
  }));
  const Filter filter(Condition{.field = "n", .test = InRange{Bounds<int64_t>{.gte = 0}}});
  const auto expected = static_cast<int64_t>(MatchingTwin(f.twin, filter).size());
  for (int i = 0; i < 5; ++i) f.WriteOnce(30);
  REQUIRE_OK(CountView(*kept, &filter));
  CHECK(*CountView(*kept, &filter) == expected);
  f.store.reset();
  CHECK(CountView(*kept, &filter).status().code() == absl::StatusCode::kUnavailable);
}

TEST_CASE("a collection that is dropped while an index is made") {
  OnlineFixture f;
  for (int i = 0; i < 10; ++i) f.WriteOnce(40);
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
