#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "engine/answer_runner.h"
#include "engine/base/bounded_queue.h"
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

// As Search and Upsert, but on any thread: it asserts nothing.
template <class Result, class Request>
absl::StatusOr<Result> Ask(Engine& engine, Request request) {
  auto promise = std::make_shared<std::promise<absl::StatusOr<Result>>>();
  auto future = promise->get_future();
  const auto id = engine.Submit(
      std::move(request),
      [promise](absl::StatusOr<Result> result) mutable { promise->set_value(std::move(result)); });
  if (!id.ok()) return id.status();
  return future.get();
}

// Answers on a thread of its own, and counts what it does there.
class CountingRunner final : public AnswerRunner {
 public:
  ~CountingRunner() override {
    jobs_.Close();
    thread_.join();
  }
  void Post(Job job) override {
    ++count;
    jobs_.Push(std::move(job));
  }
  std::atomic<int> count{0};

 private:
  BoundedQueue<Job> jobs_{0};
  std::thread thread_{[this] {
    while (std::optional<Job> job = jobs_.Pop()) (*job)();
  }};
};

TEST_CASE("searches are answered alone, side by side, and beside writes, as the engine ends, too") {
  CountingRunner answers;
  EngineFixture f;
  f.answer_runner = &answers;
  Engine& engine = f.Start();
  REQUIRE_OK(MakeCollection(engine, {.name = "c", .dimension = 2, .metric = Metric::kL2}));
  UpsertRequest points{.collection = "c", .points = {}};
  for (PointId id = 1; id <= 50; ++id) {
    points.points.push_back({.id = id,
                             .vector = {static_cast<float>(id), 0},
                             .payload = {{"n", static_cast<int64_t>(id)}}});
  }
  REQUIRE_OK(Upsert(engine, points));
  const SearchRequest search{.collection = "c", .queries = {{7, 0}}, .params = {.k = 1}};
  const auto check = [](const absl::StatusOr<SearchResult>& found) {
    return found.ok() && found->results.at(0).at(0).id == 7 &&
           std::get<int64_t>(found->results[0][0].payload.at("n")) == 7;
  };
  // One after another: they are answered where they were searched, but for those that met the
  // loop's thread on its way to sleep.
  const int before = answers.count;
  for (int i = 0; i < 200; ++i) REQUIRE(check(Search(engine, search)));
  CHECK(answers.count - before < 200);

  std::atomic<int> right{0};
  std::vector<std::thread> clients;
  for (int client = 0; client < 3; ++client) {
    clients.emplace_back([&] {
      for (int i = 0; i < 100; ++i) right += check(Ask<SearchResult>(engine, search)) ? 1 : 0;
    });
  }
  std::thread writer([&] {
    for (PointId id = 100; id < 150; ++id) {
      const UpsertRequest point{.collection = "c", .points = {{.id = id, .vector = {-9, 0}}}};
      right += Ask<UpsertResult>(engine, point).ok() ? 1 : 0;
    }
  });
  for (std::thread& client : clients) client.join();
  writer.join();
  CHECK(right == 350);

  // What is on its way when the engine ends is answered, one way or the other.
  std::atomic<int> answered{0};
  for (int i = 0; i < 2; ++i) {
    REQUIRE_OK(engine.Submit(search, [&](const absl::StatusOr<SearchResult>&) { ++answered; }));
  }
  f.Stop();
  while (answered < 2) std::this_thread::yield();  // those that were handed to the runner
}

absl::StatusOr<ClusterResult> Clusters(Engine& engine, ClusterRequest request) {
  return Call<ClusterResult>(
      [&](Done<ClusterResult> done) { return engine.Submit(request, std::move(done)); });
}

TEST_CASE("points of a collection, or vectors, are clustered") {
  EngineFixture f;
  Engine& engine = f.Start();
  REQUIRE_OK(MakeCollection(engine, {.name = "c", .dimension = 2, .metric = Metric::kL2}));
  UpsertRequest upsert{.collection = "c"};
  for (uint64_t id = 0; id < 40; ++id) {
    upsert.points.push_back({.id = id, .vector = {id % 2 == 0 ? 0.0f : 100.0f, id * 0.01f}});
  }
  REQUIRE_OK(Upsert(engine, upsert));
  const auto clusters =
      Clusters(engine, {.collection = "c", .params = {.k = 2, .with_assignment = true}});
  REQUIRE_OK(clusters);
  REQUIRE(clusters->clusters.size() == 2);
  CHECK(clusters->clusters[0].points == 20);
  CHECK(clusters->mean_score < 1);  // of L2, the collection's metric
  REQUIRE(clusters->ids.size() == 40);
  for (size_t i = 0; i < 40; ++i) {
    const bool same = clusters->ids[i] % 2 == clusters->ids[0] % 2;
    CHECK((clusters->cluster_of[i] == clusters->cluster_of[0]) == same);
  }
  REQUIRE(clusters->timings.stages.size() == 1);
  CHECK(clusters->timings.stages[0].route.work_class == WorkClass::kKmeans);
  CHECK(clusters->timings.stages[0].route.platform == Platform::kCpu);

  const auto vectors = Clusters(engine, {.vectors = {{1}, {1.5f}, {9}}, .params = {.k = 2}});
  REQUIRE_OK(vectors);
  CHECK(vectors->points == 3);

  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(Clusters(engine, {.params = {.k = 2}}), kInvalid, "collection and vectors");
  REQUIRE_STATUS(Clusters(engine, {.collection = "c", .vectors = {{1}}, .params = {.k = 2}}),
                 kInvalid, "collection and vectors");
  REQUIRE_STATUS(Clusters(engine, {.collection = "none", .params = {.k = 2}}),
                 absl::StatusCode::kNotFound, "none");
  REQUIRE_STATUS(Clusters(engine, {.collection = "c"}), kInvalid, "k must be 1 to 65536, but is 0");
  REQUIRE_STATUS(Clusters(engine, {.collection = "c", .params = {.k = 41}}), kInvalid,
                 "k is 41, but there are only 40 points");
  REQUIRE_STATUS(Clusters(engine, {.collection = "c", .params = {.k = 2, .iterations = 1001}}),
                 kInvalid, "iterations must be 1 to 1000, but is 1001");
  REQUIRE_STATUS(Clusters(engine, {.collection = "c", .params = {.k = 2, .seed = -1}}), kInvalid,
                 "seed");
  REQUIRE_STATUS(Clusters(engine, {.vectors = {{1}, {1, 2}}, .params = {.k = 2}}), kInvalid,
                 "vectors[1] has 2 values");
  REQUIRE_STATUS(Clusters(engine, {.vectors = {{1}, {NAN}}, .params = {.k = 2}}), kInvalid,
                 "vectors[1][0] is nan");
  REQUIRE_STATUS(
      Clusters(engine, {.vectors = std::vector<std::vector<float>>(100, std::vector<float>(50'000)),
                        .params = {.k = 100}}),
      kInvalid, "k times the dimension must be at most 4194304, but is 5000000");
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

// Keeps answers until it is told to hand them out.
class HeldAnswers final : public AnswerRunner {
 public:
  void Post(Job job) override {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  size_t held() {
    const std::lock_guard lock(mutex_);
    return jobs_.size();
  }
  void HandOut() {
    std::vector<Job> jobs;
    {
      const std::lock_guard lock(mutex_);
      jobs.swap(jobs_);
    }
    for (Job& job : jobs) job();
  }

 private:
  std::mutex mutex_;
  std::vector<Job> jobs_;
};

TEST_CASE("a request is in flight until its answer is out, however it ends") {
  HeldAnswers answers;
  EngineFixture f;
  f.answer_runner = &answers;
  f.options.queues.requests_in_flight_max = 2;
  Engine& engine = f.Start();
  std::vector<absl::Status> ends;  // of what was handed out, on this thread
  const auto upsert = [&](std::string collection) {
    return engine.Submit(
        UpsertRequest{.collection = std::move(collection), .points = {{.id = 1, .vector = {1, 0}}}},
        [&ends](const absl::StatusOr<UpsertResult>& result) { ends.push_back(result.status()); });
  };
  bool created = false;
  REQUIRE_OK(engine.SubmitCreate(
      {.name = "c", .dimension = 2},
      [&](const absl::StatusOr<CollectionInfo>& info) { created = info.ok(); }));
  REQUIRE(Eventually([&] { return answers.held() == 1; }));
  REQUIRE_OK(upsert("away"));
  REQUIRE(Eventually([&] { return answers.held() == 2; }));
  CHECK(engine.InFlight() == 2);
  REQUIRE_STATUS(upsert("c"), absl::StatusCode::kResourceExhausted, "requests_in_flight_max: 2");
  CHECK(ends.empty());
  CHECK_FALSE(created);
  answers.HandOut();
  CHECK(engine.InFlight() == 0);
  CHECK(created);
  REQUIRE(ends.size() == 1);
  CHECK(absl::IsNotFound(ends[0]));
  REQUIRE_OK(upsert("c"));
  REQUIRE(Eventually([&] { return answers.held() == 1; }));
  // What is still held when the engine ends is handed out all the same.
  f.Stop();
  answers.HandOut();
  REQUIRE(ends.size() == 2);
  REQUIRE_OK(ends[1]);
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
