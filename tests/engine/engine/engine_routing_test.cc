// Where the engine sends work, and what it makes of executors that fail or hang.
#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <sstream>

#include "tests/engine/engine/engine_fixture.h"
#include "tests/support/await.h"
#include "tests/support/eventually.h"
#include "tests/support/scripted_search.h"

namespace baton {
namespace {

constexpr auto kUnavailable = absl::StatusCode::kUnavailable;

// An engine with a GPU of a test's own beside its CPU, and a collection of a few points.
class Node : public EngineFixture {
 public:
  ScriptedSearch& gpu;

  explicit Node(EngineOptions wanted = {}) : gpu(AddSearch()) {
    options = std::move(wanted);
    options.kv.memory_mb = 4;
    Start();
    REQUIRE_OK(Call<CollectionInfo>([&](auto done) {
      return engine->SubmitCreate({.name = "c", .dimension = 4}, std::move(done));
    }));
    UpsertRequest upsert{.collection = "c"};
    for (uint64_t id = 1; id <= 10; ++id) {
      upsert.points.push_back({.id = PointId(id), .vector = {1.0f * id, 0, 0, 1}});
    }
    REQUIRE_OK(Call<UpsertResult>(
        [&](auto done) { return engine->Submit(std::move(upsert), std::move(done)); }));
  }

  absl::StatusOr<SearchResult> Search(const Hints& hints = {}) {
    SearchRequest request{.collection = "c", .queries = {{1, 0, 0, 0}}};
    request.params.k = 3;
    request.envelope.hints = hints;
    return Call<SearchResult>(
        [&](auto done) { return engine->Submit(std::move(request), std::move(done)); });
  }

 private:
  ScriptedSearch& AddSearch() {
    auto executor = std::make_unique<ScriptedSearch>();
    ScriptedSearch& added = *executor;
    AddExecutor(std::move(executor));
    return added;
  }
};

const Route& RouteOf(const absl::StatusOr<SearchResult>& result) {
  REQUIRE_OK(result);
  return result->timings.stages.at(0).route;
}

TEST_CASE("work that a device fails at is done elsewhere, as the fallback says") {
  Node node;
  node.gpu.FailNext(1);
  const auto found = node.Search();
  CHECK(RouteOf(found).platform == Platform::kCpu);
  CHECK(RouteOf(found).fallback);
  CHECK(found->results.at(0).size() == 3);
  CHECK(found->timings.stages.size() == 1);
  CHECK(found->timings.stages[0].items == 1);

  node.gpu.FailNext(1);
  REQUIRE_STATUS(node.Search({.fallback = Fallback::kNone}), absl::StatusCode::kInternal,
                 "scripted failure");
  node.gpu.FailNext(1);
  REQUIRE_STATUS(node.Search({.platform = Platform::kGpu}), absl::StatusCode::kInternal,
                 "scripted failure");
  CHECK(RouteOf(node.Search()).platform == Platform::kGpu);
}

TEST_CASE("retry asks the same device again where there is no other one") {
  Node node;
  const Hints only_gpu = {
      .fallback = Fallback::kRetry, .retries = 3, .exclude = PlatformSet{Platform::kCpu}};
  node.gpu.FailNext(3);
  CHECK(RouteOf(node.Search(only_gpu)).platform == Platform::kGpu);
  node.gpu.FailNext(4);
  REQUIRE_STATUS(node.Search(only_gpu), absl::StatusCode::kInternal, "scripted failure");
  CHECK(node.gpu.searches() == 8);
}

TEST_CASE("what is the request's own fault is not tried again") {
  Node node;
  node.gpu.FailNext(1, absl::StatusCode::kDeadlineExceeded);
  REQUIRE_STATUS(node.Search(), absl::StatusCode::kDeadlineExceeded, "scripted failure");
  CHECK(node.gpu.searches() == 1);
}

TEST_CASE("a failing device is left alone, and probed back") {
  EngineOptions options;
  options.health.probe_ms = 50;
  Node node(options);
  node.gpu.FailNext(10);
  for (int i = 0; i < 10; ++i) REQUIRE_OK(node.Search());
  const auto open = node.engine->Devices().at(0);
  CHECK(open.state == "open");
  CHECK_THAT(open.events.front(), Catch::Contains("open: 10 of its last 10 batches failed"));
  CHECK(RouteOf(node.Search()).platform == Platform::kCpu);
  REQUIRE(Eventually(
      [&] { return node.Search().ok() && node.engine->Devices().at(0).state == "closed"; }));
  CHECK(RouteOf(node.Search()).platform == Platform::kGpu);
}

TEST_CASE("a hanging device is fenced, its work done elsewhere, its late results dropped") {
  EngineOptions options;
  options.health.stall_ms = 500;
  Node node(options);
  node.gpu.Hold();
  const auto found = node.Search();
  CHECK(RouteOf(found).platform == Platform::kCpu);
  CHECK(found->results.at(0).size() == 3);
  REQUIRE_STATUS(node.engine->Progress(), kUnavailable, "has work and completes nothing");
  CHECK(node.engine->Devices().at(0).state == "stalled");
  REQUIRE_STATUS(node.Search({.platform = Platform::kGpu}), kUnavailable, "is fenced");
  node.gpu.Resume();  // what it says of the search comes too late
  REQUIRE(Eventually([&] { return node.engine->Progress().ok(); }));
  CHECK(node.engine->Devices().at(0).state == "probing");
  CHECK(RouteOf(node.Search()).platform == Platform::kGpu);
}

TEST_CASE("without a fallback the work of a fenced device fails") {
  EngineOptions options;
  options.health.stall_ms = 500;
  Node node(options);
  node.gpu.Hold();
  REQUIRE_STATUS(node.Search({.platform = Platform::kGpu}), kUnavailable, "was fenced");
  node.gpu.Resume();
}

TEST_CASE("a hot device gets half of the work, a full one none") {
  Node node;
  const auto on_gpu = [&](int searches) {
    int count = 0;
    for (int i = 0; i < searches; ++i) count += RouteOf(node.Search()).platform == Platform::kGpu;
    return count;
  };
  CHECK(on_gpu(4) == 4);
  node.gpu.SetSample({.healthy = true, .temperature_c = 90});
  REQUIRE(Eventually([&] { return node.engine->Devices().at(0).capacity == 0.5; }));
  CHECK(on_gpu(8) == 4);
  node.gpu.SetSample({.healthy = true, .memory_bytes_used = 99});
  REQUIRE(Eventually([&] { return !node.engine->Devices().at(0).refusal.empty(); }));
  CHECK(on_gpu(4) == 0);
}

TEST_CASE("in standby the GPU gets nothing") {
  Node node;
  node.engine->SetPowerMode(PowerMode::kStandby);
  CHECK(node.engine->power_mode() == PowerMode::kStandby);
  CHECK(RouteOf(node.Search()).platform == Platform::kCpu);
  REQUIRE_STATUS(node.Search({.platform = Platform::kGpu}), kUnavailable,
                 "the power mode is standby");
  node.engine->SetPowerMode(PowerMode::kNormal);
  CHECK(RouteOf(node.Search()).platform == Platform::kGpu);
}

TEST_CASE("a power budget goes around what draws more, and energy stands in the response") {
  EngineOptions options;
  options.power.gpu_max_w = 300;
  options.power.cpu_max_w = 90;
  Node node(options);
  const auto found = node.Search({.power_budget_w = 100});
  CHECK(RouteOf(found).platform == Platform::kCpu);
  const auto on_gpu = node.Search({.power_budget_w = 300});
  CHECK(RouteOf(on_gpu).platform == Platform::kGpu);
  CHECK(on_gpu->timings.stages[0].joules > 0);  // 300 W times its run
  CHECK_FALSE(on_gpu->timings.stages[0].joules_measured);
}

TEST_CASE("once times are known they decide, and they are kept across a restart") {
  TempDir dir;
  EngineOptions options;
  options.cost_model_path = dir.File("cost_model");
  options.cost_model.probe_ms = 0;
  options.cost_model.interval_max = 100;  // of noisy machines, too
  Node node(options);
  node.gpu.SetRunUs(5'000'000);  // so it says; the CPU takes some microseconds
  for (int i = 0; i < 40; ++i) {
    REQUIRE_OK(node.Search({.platform = Platform::kCpu}));
    REQUIRE_OK(node.Search({.platform = Platform::kGpu}));
  }
  auto found = node.Search();
  CHECK(RouteOf(found).platform == Platform::kCpu);
  CHECK_FALSE(RouteOf(found).fallback);
  CHECK_THAT(RouteOf(found).reason, Catch::Contains("scored above gpu"));
  REQUIRE_STATUS(
      node.Search({.latency_sla_us = 1000, .platform = Platform::kGpu, .sla_required = true}),
      absl::StatusCode::kFailedPrecondition, "is predicted to take");

  const auto stages = node.engine->Explain({.envelope = {}, .kind = ExplainRequest::Kind::kSearch});
  REQUIRE_OK(stages);
  const RouteCandidate& gpu = stages->at(0).candidates.at(0);
  const RouteCandidate& cpu = stages->at(0).candidates.at(1);
  CHECK(gpu.sure);
  CHECK(gpu.samples >= 40);
  CHECK(gpu.predicted_us == Approx(5e6).epsilon(0.2));
  CHECK(cpu.speedup > 10);
  CHECK(cpu.score > gpu.score);

  node.Stop();
  std::ifstream file(options.cost_model_path);
  std::stringstream text;
  text << file.rdbuf();
  CHECK_THAT(text.str(), Catch::StartsWith("baton-cost-model 4\n"));
  Engine& again = node.Start();  // without the GPU
  const std::vector<LearnedCost> costs = again.Costs();
  REQUIRE_FALSE(costs.empty());
  CHECK(costs[0].platform == Platform::kCpu);
  node.Stop();
  std::ofstream(options.cost_model_path) << text.str().substr(0, text.str().size() / 2);
  CHECK(node.Start().Costs().empty());  // damaged: told and ignored
}

TEST_CASE("calibration makes every class known on every executor") {
  EngineFixture fixture;
  fixture.AddRandomModel();
  Engine& engine = fixture.Start();
  const auto costs = Call<std::vector<LearnedCost>>(
      [&](auto done) { return engine.SubmitCalibrate(kNoDeadline, std::move(done)); });
  REQUIRE_OK(costs);
  for (const WorkClass expected :
       {WorkClass::kEmbed, WorkClass::kKmeans, WorkClass::kPrefill, WorkClass::kDecode}) {
    const auto it = std::find_if(costs->begin(), costs->end(), [&](const LearnedCost& cost) {
      return cost.work_class == expected;
    });
    CAPTURE(Name(expected));
    REQUIRE(it != costs->end());
    CHECK(it->samples >= 16);
  }
}

TEST_CASE("a generation that fails before its first token is done elsewhere") {
  EngineFixture fixture;
  fixture.AddRandomModel();
  fixture.AddScripted(
      [](const LlmItem&) -> absl::StatusOr<TokenId> { return absl::InternalError("it broke"); });
  Engine& engine = fixture.Start();
  GenerateRequest request;
  request.prompt = "abc";
  request.max_tokens = 4;
  request.ignore_eos = true;
  request.envelope.hints.fallback = Fallback::kAlternate;
  const auto sink = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(request, sink));
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(outcome.result.generated_tokens == 4);
  CHECK(outcome.result.timings.stages.at(0).route.platform == Platform::kCpu);
  request.envelope.hints.fallback = Fallback::kNone;
  request.envelope.hints.platform = Platform::kGpu;
  const auto failed = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(request, failed));
  REQUIRE_STATUS(failed->Wait().status, absl::StatusCode::kInternal, "it broke");
}

TEST_CASE("a generation on a device that hangs is done elsewhere") {
  EngineFixture fixture;
  fixture.options.health.stall_ms = 500;
  fixture.AddRandomModel();
  ScriptedExecutor& gpu =
      fixture.AddScripted([](const LlmItem&) -> absl::StatusOr<TokenId> { return 5; });
  Engine& engine = fixture.Start();
  gpu.Hold();
  GenerateRequest request;
  request.prompt = "abc";
  request.max_tokens = 4;
  request.ignore_eos = true;
  request.envelope.hints.fallback = Fallback::kAlternate;
  const auto sink = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(request, sink));
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(outcome.result.timings.stages.at(0).route.platform == Platform::kCpu);
  gpu.Resume();
}

TEST_CASE("a configuration that leaves work nowhere to run is refused at the start") {
  EngineFixture fixture;
  fixture.options.route.platforms.of[static_cast<int>(WorkClass::kEmbed)] = {"gpu"};
  REQUIRE_STATUS(fixture.TryStart(), absl::StatusCode::kFailedPrecondition,
                 "route.platforms.embed");
}

}  // namespace
}  // namespace baton
