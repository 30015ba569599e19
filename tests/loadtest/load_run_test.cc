#include "loadtest/load_run.h"  // header under test

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <set>
#include <sstream>
#include <thread>

#include "loadtest/sweep.h"
#include "tests/loadtest/load_runs.h"
#include "tests/loadtest/scripted_server.h"
#include "tests/loadtest/temporary_file.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

// A proxy that is not there: whoever uses it does not arrive. Before gRPC reads the environment.
const bool kProxySet = [] {
  for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    setenv(name, "http://127.0.0.1:1", 1);
  }
  unsetenv("no_proxy");
  unsetenv("no_grpc_proxy");
  return true;
}();

std::function<Script(int64_t)> Always(const Script& script) {
  return [script](int64_t) { return script; };
}

// What a busy machine adds is in all figures of a request alike: lower bounds are the script's, and
// upper ones are other figures of the same requests.
TEST_CASE("Generate: TTFT, ITL, TPOT and E2E are the scripted ones, past a bogus proxy") {
  const ScriptedServer server(
      Always({.first_ms = 40, .gap_ms = 10, .messages = 5, .tokens_per_message = 2}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = GENERATE(Kind::kGenerate, Kind::kChat);
  scenario.arrivals.rate_per_s = 20;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  const auto& f = outcome.figures;
  CHECK(f["requests.ok"] == 10);
  CHECK(f["requests.failed"] == 0);
  CHECK(f["itl_ms.samples"] == 40);  // 4 gaps in each of 10 requests
  CHECK(f["ttft_ms.p50"] >= 40);
  const double after_first_ms = f["e2e_ms.mean"].get<double>() - f["ttft_ms.mean"].get<double>();
  CHECK(after_first_ms >= 36);
  CHECK(4 * f["itl_ms.mean"].get<double>() <= after_first_ms + 0.1);
  CHECK(9 * f["tpot_ms.mean"].get<double>() == Approx(after_first_ms).epsilon(0.01));
  CHECK(f["throughput.tokens_per_s"] == Approx(100 / f["wall_s"].get<double>()));
  CHECK(f["tokens.prompt"] == 70);
  CHECK(f["route.decode.cpu"] == 1);
  CHECK(outcome.document["stages"][0]["queue_ms"] == 2);
  CHECK(outcome.document["stages"][0]["run_ms"] == 3);
}

TEST_CASE("Ask: `retrieved` is timed apart, and the answer after it") {
  const ScriptedServer server(Always({.first_ms = 50, .messages = 2}));
  const TemporaryFile questions("{\"question\": \"Why?\"}\n");
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = Kind::kAsk;
  scenario.load[0].questions_path = questions.path();
  scenario.arrivals.rate_per_s = 20;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 10);
  CHECK(outcome.figures["ttft_ms.mean"].get<double>() >
        outcome.figures["retrieved_ms.mean"].get<double>());
}

TEST_CASE("Errors are counted by code, refusals with their hints") {
  ScriptedServer server([](int64_t number) {
    Script script;
    if (number % 2 == 1) {
      script.status = {grpc::StatusCode::RESOURCE_EXHAUSTED, "scripted"};
      if (number % 4 == 1) script.retry_after_ms = 20;
    }
    return script;
  });
  Scenario scenario = SearchLoad(server.target());
  scenario.arrivals.rate_per_s = 80;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 20);
  CHECK(outcome.figures["errors.RESOURCE_EXHAUSTED"] == 20);
  CHECK(outcome.figures["refusals.hinted_share"] == 0.5);
  CHECK(outcome.figures["refusal_ms.samples"] == 20);
  CHECK(outcome.document["errors"][0]["message"] == "scripted");
}

TEST_CASE("No more than the limit is in flight and the rest is dropped and counted") {
  const ScriptedServer server(Always({.first_ms = 300}));
  Scenario scenario = SearchLoad(server.target());
  scenario.in_flight_max = 2;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  const double sent = outcome.figures["requests.sent"];
  CHECK(sent >= 2);
  CHECK(sent <= 4);
  CHECK(sent + outcome.figures["requests.dropped"].get<double>() == 50);
  CHECK_THAT(Warnings(outcome.document), Catch::Contains("never sent"));
}

TEST_CASE("The deadline ends a request that hangs") {
  const ScriptedServer server(Always({.hang = true}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = Kind::kGenerate;
  scenario.load[0].deadline_ms = 50;
  scenario.arrivals.rate_per_s = 10;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 0);
  // A request that is late already is not sent.
  const double late = outcome.figures["errors.DEADLINE_EXCEEDED"];
  CHECK(late >= 1);
  CHECK(late + outcome.figures["requests.dropped"].get<double>() == 5);
}

TEST_CASE("A stream that ends OK without `finished` is no success") {
  const ScriptedServer server(Always({.messages = 2, .finish = false}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = Kind::kGenerate;
  scenario.arrivals.rate_per_s = 10;
  const LoadOutcome outcome = RunScenario(scenario);
  CHECK(outcome.figures["requests.ok"] == 0);
  CHECK(outcome.figures["errors.INCOMPLETE_STREAM"] == 5);
}

TEST_CASE("A cancelled share is given up, not failed") {
  const ScriptedServer server(Always({.first_ms = 20, .hang = true}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = Kind::kGenerate;
  scenario.load[0].cancel_share = 1;
  scenario.load[0].cancel_after_ms = {1, 30};
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.given_up"] == 50);
  CHECK(outcome.figures["requests.failed"] == 0);
}

TEST_CASE("Recall compares sampled searches with exact ones after the run") {
  const ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].k = 10;
  scenario.load[0].exact_share = 1;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["recall.queries"] == 50);
  CHECK(outcome.figures["recall.mean"].get<double>() == Approx(0.9));
  CHECK(outcome.figures["requests.ok"] == 50);  // the exact ones are in no other figure
}

TEST_CASE("Upserts write new points each time, bulk searches ask many at once") {
  ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].batch = 3;
  scenario.load[0].kind = Kind::kUpsert;
  REQUIRE_OK(RunScenario(scenario).status);
  std::set<int> ids;
  for (const auto& [text, stamps] : server.stamps()) {
    std::istringstream numbers(text);
    for (int id = 0; numbers >> id;) ids.insert(id);
  }
  CHECK(ids.size() == 150);
  CHECK(*ids.begin() == 1);
  CHECK(*ids.rbegin() == 150);
  ScriptedServer bulk(Always({}));
  scenario.target = bulk.target();
  scenario.load[0].kind = Kind::kSearchBulk;
  REQUIRE_OK(RunScenario(scenario).status);
  CHECK(bulk.stamps().contains("3"));
}

TEST_CASE("A mix has figures of each of its parts and of the probe beside it") {
  const ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  RequestMix& generate = scenario.load.emplace_back();
  generate.kind = Kind::kGenerate;
  generate.weight = 3;
  scenario.probe = scenario.load[0];
  scenario.probe_rate_per_s = 20;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  const double searches = outcome.figures["load.search.requests.ok"];
  const double generations = outcome.figures["load.generate.requests.ok"];
  CHECK(searches + generations == 50);
  CHECK(generations > searches);
  CHECK(outcome.figures["requests.ok"] == 50);  // the probe is not of the load
  CHECK(outcome.figures["probe.requests.ok"] == 10);
  CHECK(outcome.figures["probe.e2e_ms.samples"] == 10);
}

TEST_CASE("Warm-up is in no figure") {
  ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  scenario.warmup_s = 0.5;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.sent"] == 50);
  CHECK(server.requests() == 100);
}

TEST_CASE("A trace is replayed with its times and lengths") {
  ScriptedServer server(Always({}));
  const TemporaryFile trace(
      "{\"timestamp\": 1200, \"input_length\": 5, \"output_length\": 3}\n"
      "{\"timestamp\": 1000, \"input_length\": 600, \"output_length\": 2, \"hash_ids\": [4, 5]}\n");
  Scenario scenario = SearchLoad(server.target());
  scenario.load[0].kind = Kind::kGenerate;
  scenario.arrivals.process = Process::kTrace;
  scenario.trace_path = trace.path();
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 2);
  CHECK(outcome.figures["wall_s"].get<double>() >= 0.2);
}

TEST_CASE("A target that is not there is UNAVAILABLE, with a report of nothing") {
  Scenario scenario = SearchLoad("127.0.0.1:1");
  scenario.connect_ms = 200;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "127.0.0.1:1");
  CHECK(outcome.figures["requests.sent"] == 0);
  CHECK_THAT(Warnings(outcome.document), Catch::Contains("partial"));
}

TEST_CASE("A server that dies ends the run and leaves what came before") {
  ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  scenario.duration_s = 60;
  scenario.away_ms = 300;
  std::jthread killer([&server] {
    while (server.requests() < 20) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    server.Kill();
  });
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "stopped answering");
  CHECK(outcome.figures["requests.ok"] >= 15);
  CHECK(outcome.figures["errors.UNAVAILABLE"] >= 3);
  CHECK(outcome.figures["wall_s"].get<double>() < 60);
}

TEST_CASE("A rate that no machine can send is said to be one, beside what was sent") {
  const ScriptedServer server(Always({}));
  Scenario scenario = SearchLoad(server.target());
  scenario.arrivals.rate_per_s = 1e6;
  scenario.duration_s = 2;
  scenario.in_flight_max = 100'000;
  scenario.load[0].deadline_ms = 5'000;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_STATUS(outcome.status, absl::StatusCode::kResourceExhausted, "cannot send");
  CHECK(outcome.figures["requests.ok"] > 0);
  CHECK_THAT(Warnings(outcome.document), Catch::Contains("The client was late"));
}

TEST_CASE("An interrupt ends the sending, and what is under way is still counted") {
  ScriptedServer server(Always({.first_ms = 10}));
  Scenario scenario = SearchLoad(server.target());
  scenario.duration_s = 600;
  std::atomic<bool> stop = false;
  std::jthread interrupter([&] {
    while (server.requests() < 10) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    stop = true;
  });
  auto transport = MakeTransport(scenario);
  REQUIRE_OK(transport);
  REQUIRE_OK((*transport)->Connect());
  const auto load = PreparedLoad::Make(scenario, **transport);
  REQUIRE_OK(load);
  Results results(scenario.slo, scenario.load, false);
  REQUIRE_OK(RunLoad(scenario, *load, **transport, stop, {}, results));
  CHECK(results.all.ok > 0);
  CHECK(results.all.ok == results.all.sent);
  CHECK(results.wall_s() < 600);
}

TEST_CASE("A sweep finds between which rates the SLO breaks") {
  // One at a time, 20 ms each: 50 a second are sustainable.
  ScriptedServer server(Always({.first_ms = 20}), /*serial=*/true);
  Scenario scenario = SearchLoad(server.target());
  scenario.slo.e2e_ms = 600;
  scenario.sweep = {.rate_min_per_s = 10,
                    .rate_max_per_s = 400,
                    .factor = 4,
                    .refine = 1,
                    .step_s = 1.5,
                    .warmup_s = 0};
  auto transport = MakeTransport(scenario);
  REQUIRE_OK(transport);
  REQUIRE_OK((*transport)->Connect());
  const auto load = PreparedLoad::Make(scenario, **transport);
  REQUIRE_OK(load);
  SweepOutcome sweep = RunSweep(scenario, *load, **transport, false, {}, {});
  REQUIRE_OK(sweep.status);
  // 10 holds, 40 holds, 160 breaks (its queue grows by 2 s in each), 80 breaks; what breaks
  // narrowly is tried twice.
  REQUIRE(sweep.steps.size() >= 4);
  CHECK(sweep.steps.front().holds);
  CHECK(sweep.steps.back().rate_per_s == Approx(80));
  CHECK(sweep.rate_at_slo >= 10);
  CHECK(sweep.rate_at_slo < 160);
  for (const SweepStep& step : sweep.steps) CHECK(step.holds == (step.goodput_share >= 0.99));
  REQUIRE(sweep.best);
  const auto document = MakeDocument(scenario, sweep.status, *sweep.best, &sweep);
  CHECK(document["sweep"].size() == sweep.steps.size());
  CHECK(document["figures"]["sweep.rate_at_slo"] == sweep.rate_at_slo);
}

}  // namespace
}  // namespace baton::load
