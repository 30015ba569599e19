// Collections with several vectors, against a plain model of what they hold.

#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "engine/vector/snapshot.h"
#include "engine/vector/vector_checks.h"
#include "engine/vector/vector_store.h"
#include "engine/vector/view_queries.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

constexpr uint64_t kIds = 400;

CollectionSpec NamedSpec(int32_t unnamed_dimension) {
  CollectionSpec spec = Spec("c", unnamed_dimension, Metric::kL2);
  spec.vectors = {Spec("", 6, Metric::kCosine), Spec("", 9, Metric::kDot), Spec("", 3)};
  spec.vectors[0].vector_name = "title";
  spec.vectors[1].vector_name = "body";
  spec.vectors[1].index = IndexKind::kIvfSq;
  spec.vectors[2].vector_name = "small";
  spec.vectors[2].storage = VectorStorage::kInt8;
  spec.vectors[2].embedder = "somebody";
  return spec;
}

// What int8 holds as it is.
std::vector<float> SmallVector(std::mt19937& random) {
  std::vector<float> vector(3);
  for (float& value : vector) value = static_cast<float>(random() % 200) - 100;
  return vector;
}

Condition IsGroup(int64_t group) {
  Condition condition;
  condition.field = "g";
  condition.test = Match{.any = {group}};
  return condition;
}

struct NamedFixture {
  explicit NamedFixture(int32_t unnamed) : dimension(unnamed), options(TestOptions(dir.path())) {
    Reopen();
    REQUIRE_OK(store->CreateCollection(NamedSpec(unnamed), ""));
    REQUIRE_OK(store->CreatePayloadIndex("c", {.field = "g", .kind = PayloadIndexKind::kInteger}));
  }
  void Reopen() {
    store.reset();
    auto opened = VectorStore::Open(options, metrics);
    REQUIRE_OK(opened);
    store = *std::move(opened);
  }
  void Forget(PointId id) {
    groups.erase(id);
    for (auto& [name, twin] : twins) twin.erase(id);
  }
  Point RandomPoint(PointId id) {
    Forget(id);
    groups[id] = static_cast<int64_t>(random() % 5);
    Point point = MakePoint(id, RandomVector(random, dimension), {{"g", groups[id]}});
    if (dimension > 0) twins[""][id] = point.vector;
    const auto add = [&](const std::string& name, std::vector<float> values) {
      if (random() % 3 == 0) return;
      twins[name][id] = values;
      point.named.push_back({.name = name, .values = std::move(values)});
    };
    add("small", SmallVector(random));
    add("title", RandomVector(random, 6));
    add("body", RandomVector(random, 9));
    return point;
  }
  void Work() {
    Write write{.collection = "c"};
    std::map<PointId, bool> touched;
    for (int i = 0; i < 40; ++i) {
      const PointId id = random() % kIds;
      if (!touched.emplace(id, true).second) continue;
      if (random() % 4 == 0) {
        write.deletes.push_back(id);
        Forget(id);
      } else {
        write.upserts.push_back(RandomPoint(id));
      }
    }
    PayloadPatch patch{.ids = {random() % kIds, random() % kIds}};
    patch.set = {{"g", int64_t{9}}};
    for (const PointId id : patch.ids) {
      if (groups.contains(id)) groups[id] = 9;
    }
    write.patches.push_back(std::move(patch));
    std::vector<Write> writes;
    writes.push_back(std::move(write));
    const std::vector<WriteResult> results = store->Commit(std::move(writes));
    REQUIRE_OK(results.at(0).status);
  }
  void CheckVector(const CollectionSpec& spec) {
    const Twin& twin = twins[spec.vector_name];
    const auto view = store->View("c", spec.vector_name);
    REQUIRE_OK(view);
    REQUIRE((*view)->points() == std::ssize(twin));
    std::vector<float> query = RandomVector(random, spec.dimension);
    REQUIRE(Search(**view, query, {.k = 20, .exact = true}) ==
            NaiveSearch(twin, spec.metric, query, 20));
    // With a filter: payloads go with every vector.
    const auto group = static_cast<int64_t>(random() % 5);
    Twin of_group;
    for (const auto& [id, vector] : twin) {
      if (groups.at(id) == group) of_group[id] = vector;
    }
    const SearchParams params{
        .k = 20, .exact = true, .filter = std::make_shared<const Filter>(IsGroup(group))};
    REQUIRE(Search(**view, query, params) == NaiveSearch(of_group, spec.metric, query, 20));
  }
  void Check() {
    const auto info = store->Describe("c");
    REQUIRE_OK(info);
    REQUIRE(info->points == std::ssize(groups));
    REQUIRE(info->spec.vectors.size() == 3);
    REQUIRE(info->spec.vectors[2].embedder == "somebody");
    REQUIRE(info->spec.vectors[1].index == IndexKind::kIvfSq);
    if (dimension > 0) CheckVector(Spec("c", dimension));
    for (const CollectionSpec& spec : NamedSpec(dimension).vectors) CheckVector(spec);
    for (size_t i = 0; i < 3; ++i) {
      REQUIRE(info->vectors[i].name == info->spec.vectors[i].vector_name);
      REQUIRE(info->vectors[i].points == std::ssize(twins[info->vectors[i].name]));
    }
    // All that was written comes back.
    std::vector<PointId> ids;
    for (const auto& [id, group] : groups) ids.push_back(id);
    const auto points = store->Get("c", ids, true, true);
    REQUIRE_OK(points);
    REQUIRE(points->size() == ids.size());
    for (const Point& point : *points) {
      REQUIRE(point.payload == Payload{{"g", groups.at(point.id)}});
      if (dimension > 0) REQUIRE(point.vector == twins[""].at(point.id));
      size_t has = 0;
      for (const auto& [name, twin] : twins) has += name.empty() ? 0 : twin.count(point.id);
      REQUIRE(point.named.size() == has);
      for (const NamedVector& vector : point.named) {
        REQUIRE(vector.values == twins[vector.name].at(point.id));
      }
    }
    const auto all = store->View("c");
    REQUIRE_OK(all);
    const Filter filter(IsGroup(3));
    const auto count = CountView(**all, &filter);
    REQUIRE_OK(count);
    REQUIRE(*count == std::count_if(groups.begin(), groups.end(),
                                    [](const auto& entry) { return entry.second == 3; }));
  }

  const int32_t dimension;
  TempDir dir;
  VectorOptions options;
  Metrics metrics;
  std::unique_ptr<VectorStore> store;
  std::mt19937 random{7};
  std::map<std::string, Twin> twins;  // "": the unnamed one
  std::map<PointId, int64_t> groups;  // of all points
};

absl::Status Upsert(VectorStore& store, Point point) {
  return CommitOne(store, "c", {std::move(point)}).status;
}

bool Says(const absl::Status& status, absl::StatusCode code, const std::string& text) {
  INFO(status.ToString());
  return status.code() == code && status.message().find(text) != std::string_view::npos;
}

}  // namespace

TEST_CASE("named vectors are what was written, whatever is sealed, merged and opened again") {
  const int32_t unnamed = GENERATE(0, 5);
  NamedFixture f(unnamed);
  for (int round = 0; round < 6; ++round) {
    for (int i = 0; i < 8; ++i) f.Work();
    f.Check();
    f.store->WaitUntilIdle();
    f.Check();
    f.Reopen();
    f.Check();
  }
  f.store->ScrubNow();
  f.Check();
  const auto report = f.store->Verify();
  REQUIRE_OK(report);
  REQUIRE(report->problems.empty());
  REQUIRE(report->collections == 1);
  REQUIRE(report->points == std::ssize(f.groups));
  REQUIRE(f.store->Describe("c")->vectors[0].segments > 0);
}

TEST_CASE("a snapshot has named vectors") {
  NamedFixture f(0);
  for (int i = 0; i < 20; ++i) f.Work();
  f.store->WaitUntilIdle();
  REQUIRE_OK(f.store->CreateSnapshot("s"));
  const auto report = f.store->VerifySnapshot("s");
  REQUIRE_OK(report);
  REQUIRE(report->problems.empty());
  f.store.reset();
  TempDir other;
  f.options.restore = f.dir.path() + "/snapshots/s";
  f.options.data_dir = other.path();
  f.Reopen();
  f.options.restore.clear();
  f.Check();
  f.Reopen();
  f.Check();
  f.store.reset();
}

TEST_CASE("a collection that lost its manifest finds its named vectors among the points") {
  NamedFixture f(4);
  for (int i = 0; i < 20; ++i) f.Work();
  f.store->WaitUntilIdle();
  f.store.reset();
  std::filesystem::remove_all(f.dir.path() + "/segments");
  f.Reopen();
  f.Check();
}

TEST_CASE("damaged vectors of a name are written again from the database") {
  NamedFixture f(0);
  for (int i = 0; i < 20; ++i) f.Work();
  f.store->WaitUntilIdle();
  for (const auto& entry : std::filesystem::directory_iterator(f.dir.path() + "/segments")) {
    if (entry.path().filename().string().starts_with("1-")) continue;  // has no vectors
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(entry.file_size() / 2));
    file.write("damaged", 7);
  }
  f.store->ScrubNow();
  f.Check();
  f.store->WaitUntilIdle();
  f.Check();
}

TEST_CASE("named vectors are searched while they are written, sealed and kept") {
  NamedFixture f(3);
  f.Work();
  std::atomic<bool> stop = false;
  std::atomic<int64_t> wrong = 0;
  std::vector<std::thread> readers;
  for (const CollectionSpec& spec : NamedSpec(3).vectors) {
    readers.emplace_back([&f, &stop, &wrong, spec] {
      std::mt19937 random(1);
      while (!stop) {
        const auto view = f.store->View("c", spec.vector_name);
        std::vector<float> query = RandomVector(random, spec.dimension);
        std::vector<std::vector<Neighbor>> found;
        const bool ok =
            view.ok() && PrepareQuery(**view, query).ok() &&
            SearchView(
                **view, std::span(&query, 1), {.k = 5}, [] { return absl::OkStatus(); }, &found)
                .ok();
        const auto expected = ok ? std::min<int64_t>(5, (*view)->points()) : 0;
        if (!ok || std::ssize(found.front()) != expected) ++wrong;
      }
    });
  }
  readers.emplace_back([&f, &stop, &wrong] {
    for (int i = 0; !stop; ++i) {
      const std::string name = std::to_string(i % 2);
      if (!f.store->CreateSnapshot(name).ok() || !f.store->DeleteSnapshot(name).ok()) ++wrong;
    }
  });
  for (int i = 0; i < 40; ++i) f.Work();
  f.store->WaitUntilIdle();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
  f.Check();
}

TEST_CASE("dropping a collection drops its named vectors") {
  NamedFixture f(4);
  for (int i = 0; i < 10; ++i) f.Work();
  REQUIRE_OK(f.store->DropCollection("c"));
  f.Reopen();
  REQUIRE(f.store->List().empty());
  REQUIRE_OK(f.store->CreateCollection(NamedSpec(4), ""));
  REQUIRE((*f.store->View("c", "title"))->points() == 0);
}

TEST_CASE("bad named vectors are refused by name") {
  NamedFixture f(2);
  const auto code = absl::StatusCode::kInvalidArgument;
  const std::vector<float> two = {1, 2};
  const auto with = [&](std::vector<NamedVector> named) {
    Point point = MakePoint(1, two);
    point.named = std::move(named);
    return Upsert(*f.store, std::move(point));
  };
  CHECK(Says(with({{"titel", {1}}}), code, "points[0].vectors[0].name is \"titel\""));
  CHECK(Says(with({{"", {1}}}), code, "points[0].vectors[0].name is \"\""));
  CHECK(Says(with({{"title", {1, 2}}}), code,
             "points[0].vectors[0].values has 2 values, but vector \"title\" of collection \"c\" "
             "has dimension 6"));
  CHECK(Says(with({{"title", {0, 0, 0, 0, 0, 0}}}), code, "is all zero"));
  CHECK(Says(with({{"small", {1, 2, 999}}}), code, "points[0].vectors[0].values[2] is 999"));
  CHECK(Says(with({{"small", {1, 2, 3}}, {"small", {1, 2, 3}}}), code, "as that of vectors[0]"));
  CHECK(Says(Upsert(*f.store, MakePoint(1, {})), code, "points[0].vector has 0 values"));
  CHECK(Says(f.store->View("c", "x").status(), code, "vector_name is \"x\""));
  CHECK((*f.store->View("c"))->points() == 0);

  NamedFixture only(0);
  CHECK(Says(Upsert(*only.store, MakePoint(1, two)), code, "has named vectors only"));
  std::vector<float> query = two;
  CHECK(Says(PrepareQuery(**only.store->View("c"), query), code,
             "no unnamed vector, but \"title\", \"body\", \"small\""));
}

TEST_CASE("bad specs of named vectors are refused by name") {
  const auto refused = [](auto change, const std::string& text) {
    CollectionSpec spec = NamedSpec(4);
    change(spec);
    return Says(CheckSpec(spec, 3), absl::StatusCode::kInvalidArgument, text);
  };
  CHECK(refused([](auto& spec) { spec.vectors[1].vector_name = "title"; },
                "vectors[1].name is \"title\", which another vector has"));
  CHECK(refused([](auto& spec) { spec.vectors[1].vector_name = "a b"; }, "vectors[1].name"));
  CHECK(refused([](auto& spec) { spec.vectors[1].vector_name = ""; }, "vectors[1].name"));
  CHECK(refused([](auto& spec) { spec.vectors[1].vector_name.assign(200, 'x'); },
                "vectors[1].name has 200 characters"));
  CHECK(refused([](auto& spec) { spec.vectors[2].dimension = 0; }, "vectors[2].dimension is 0"));
  CHECK(refused([](auto& spec) { spec.vectors[0].hnsw_m = 1; }, "vectors[0].hnsw_m is 1"));
  CHECK(refused([](auto& spec) { spec.vectors.push_back(spec.vectors[0]); },
                "vectors has 4 entries, vector.named_vectors_max is 3"));
  CHECK(refused([](auto& spec) { spec.vectors.clear(), spec.dimension = 0; }, "dimension is 0"));
  CHECK(refused([](auto& spec) { spec.dimension = 0, spec.storage = VectorStorage::kF16; },
                "storage and index are of the unnamed vector"));
}

TEST_CASE("a recall target is met on each named vector") {
  TempDir dir;
  VectorOptions options = TestOptions(dir.path());
  options.seal_points = 2048;
  Metrics metrics;
  auto store = VectorStore::Open(options, metrics);
  REQUIRE_OK(store);
  CollectionSpec spec = Spec("c", 0);
  spec.vectors = {Spec("", 16), Spec("", 24, Metric::kCosine)};
  spec.vectors[0].vector_name = "a";
  spec.vectors[1].vector_name = "b";
  REQUIRE_OK((*store)->CreateCollection(spec, ""));
  std::mt19937 random(3);
  std::vector<Point> points;
  for (uint64_t id = 0; id < 4096; ++id) {
    Point& point = points.emplace_back(MakePoint(id, {}));
    point.named.push_back({"a", RandomVector(random, 16)});
    if (id % 2 == 0) point.named.push_back({"b", RandomVector(random, 24)});
  }
  REQUIRE_OK(CommitOne(**store, "c", std::move(points)).status);
  (*store)->WaitUntilIdle();
  for (const CollectionSpec& vector : spec.vectors) {
    const auto view = (*store)->View("c", vector.vector_name);
    REQUIRE_OK(view);
    REQUIRE((*view)->segments().size() > 0);
    int found = 0;
    for (int i = 0; i < 50; ++i) {
      const std::vector<float> query = RandomVector(random, vector.dimension);
      const auto exact = Search(**view, query, {.k = 10, .exact = true});
      for (const Neighbor& hit : Search(**view, query, {.k = 10, .recall_target = 0.9})) {
        found += std::count(exact.begin(), exact.end(), hit) > 0 ? 1 : 0;
      }
    }
    CHECK(found >= 440);  // of 500, at 0.9
  }
}

}  // namespace baton
