#include <catch2/catch.hpp>

#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

absl::StatusOr<CollectionInfo> MakeCollection(Engine& engine, CollectionSpec spec) {
  return Call<CollectionInfo>(
      [&](Done<CollectionInfo> done) { return engine.SubmitCreate(spec, std::move(done)); });
}

absl::StatusOr<UpsertResult> Upsert(Engine& engine, UpsertRequest request) {
  return Call<UpsertResult>(
      [&](Done<UpsertResult> done) { return engine.Submit(request, std::move(done)); });
}

absl::StatusOr<SearchResult> Search(Engine& engine, SearchRequest request) {
  return Call<SearchResult>(
      [&](Done<SearchResult> done) { return engine.Submit(request, std::move(done)); });
}

TEST_CASE("points are written, found with payload and score, replaced, deleted, dropped") {
  EngineFixture f;
  Engine& engine = f.Start();
  REQUIRE_OK(MakeCollection(engine, {.name = "c", .dimension = 2, .metric = Metric::kL2}));
  const auto written = Upsert(
      engine, {.collection = "c",
               .points = {{.id = 1, .vector = {0, 0}},
                          {.id = 2, .vector = {3, 4}, .payload = {{"name", std::string("far")}}}}});
  REQUIRE_OK(written);
  CHECK(written->points == 2);
  REQUIRE(written->timings.stages.size() == 1);
  CHECK(written->timings.stages[0].route.work_class == WorkClass::kGraphUpdate);
  CHECK(written->timings.stages[0].route.platform == Platform::kCpu);

  SearchRequest search{.collection = "c", .queries = {{0, 0}}, .params = {.k = 5}};
  auto found = Search(engine, search);
  REQUIRE_OK(found);
  REQUIRE(found->results.at(0).size() == 2);
  CHECK(found->results[0][0].id == 1);
  CHECK(found->results[0][0].score == 0);
  CHECK(found->results[0][1].score == 25);
  CHECK(std::get<std::string>(found->results[0][1].payload.at("name")) == "far");
  CHECK(found->timings.stages.at(0).route.rule == "default");

  search.queries.assign(11, {0, 0});
  found = Search(engine, search);
  REQUIRE_OK(found);
  CHECK(found->results.size() == 11);
  CHECK(found->timings.stages.at(0).route.work_class == WorkClass::kSearchBulk);
  CHECK(found->timings.stages.at(0).route.rule == "search-bulk");

  const auto deleted = Call<DeleteResult>([&](Done<DeleteResult> done) {
    return engine.Submit(DeleteRequest{.collection = "c", .ids = {2, 77}}, std::move(done));
  });
  REQUIRE_OK(deleted);
  CHECK(deleted->deleted == 1);
  CHECK(engine.DescribeCollection("c")->points == 1);

  const auto got = Call<std::vector<Point>>([&](Done<std::vector<Point>> done) {
    return engine.Submit(GetRequest{.collection = "c", .ids = {2, 1}, .with_vectors = true},
                         kNoDeadline, std::move(done));
  });
  REQUIRE_OK(got);
  REQUIRE(got->size() == 1);
  CHECK(got->at(0).vector == std::vector<float>{0, 0});

  REQUIRE_OK(Call<bool>([&](Done<bool> done) { return engine.SubmitDrop("c", std::move(done)); }));
  CHECK(engine.ListCollections().empty());
}

TEST_CASE("wrong vectors, collections and parameters are refused by name") {
  EngineFixture f;
  Engine& engine = f.Start();
  REQUIRE_OK(MakeCollection(engine, {.name = "c", .dimension = 2}));
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(MakeCollection(engine, {.name = "c", .dimension = 2}),
                 absl::StatusCode::kAlreadyExists, "c");
  REQUIRE_STATUS(Upsert(engine, {.collection = "d", .points = {{.id = 1, .vector = {1, 2}}}}),
                 absl::StatusCode::kNotFound, "d");
  REQUIRE_STATUS(Upsert(engine, {.collection = "c", .points = {{.id = 1, .vector = {1}}}}),
                 kInvalid, "points[0].vector");
  REQUIRE_STATUS(Upsert(engine, {.collection = "c", .points = {}}), kInvalid, "points is empty");
  SearchRequest search{.collection = "c", .queries = {{1, 2}}, .params = {.k = 0}};
  REQUIRE_STATUS(Search(engine, search), kInvalid, "params.k must be 1 to 10000, but is 0");
  search.params.k = 1'000'000;
  REQUIRE_STATUS(Search(engine, search), kInvalid, "params.k");
  search.params.k = 1;
  search.queries = {{1, 2, 3}};
  REQUIRE_STATUS(Search(engine, search), kInvalid, "queries[0]");
  search.queries = {{0, std::numeric_limits<float>::quiet_NaN()}};
  REQUIRE_STATUS(Search(engine, search), kInvalid, "queries[0]");
}

TEST_CASE("explain says where work would run without running it") {
  EngineFixture f;
  Engine& engine = f.Start();
  ExplainRequest request{.kind = ExplainRequest::Kind::kAsk};
  const auto stages = engine.Explain(request);
  REQUIRE_OK(stages);
  REQUIRE(stages->size() == 4);
  CHECK(stages->at(0).name == "embed");
  CHECK(stages->at(3).route.rule == "llm-decode");
  CHECK(stages->at(3).route.fallback);
  CHECK(stages->at(3).candidates.size() == 1);
  request.envelope.hints.platform = Platform::kFpga;
  const auto pinned = engine.Explain(request);
  REQUIRE_OK(pinned);
  CHECK(pinned->at(0).route.device.empty());
  CHECK_THAT(pinned->at(0).route.reason, Catch::Contains("fpga"));
}

}  // namespace
}  // namespace baton
