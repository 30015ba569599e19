#include "loadtest/scenario_file.h"  // header under test

#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

constexpr const char* kFull = R"(
target: 127.0.0.1:50051
api: baton
seed: 7
duration_s: 30
warmup_s: 2.5
arrivals: {process: ramp, rate: 5, rate_end: 50}
load:
  - kind: ask
    weight: 3
    collection: demo
    questions: questions.jsonl
    k: 3
    max_tokens: {min: 8, max: 64}
    cancel_share: 0.05
    cancel_after_ms: {min: 10, max: 200}
    deadline_ms: 10000
    priority: -5
    tenant: alice
    hints: {latency_sla_us: 500, deterministic: false, sla_required: true,
            platform: cpu, policy: balanced}
  - kind: generate
    prompt_words: {min: 100, max: 200}
    shared_prefixes: 4
    shared_prefix_words: 80
    ignore_eos: true
  - {kind: search, collection: demo, exact_share: 0.01, ef: 128}
  - {kind: search_bulk, collection: demo, batch: 100, vectors: /data/q.fvecs}
  - {kind: upsert, name: writes, collection: demo}
probe: {kind: search, collection: demo, rate: 2}
slo: {ttft_ms: 300, tpot_ms: 50, itl_ms: 100, e2e_ms: 3000, share: 0.95}
in_flight_max: 64
channels: 2
token_file: token.txt
tls: {ca: ca.pem, cert: /etc/client.pem, key: client.key}
)";

TEST_CASE("Every key of a scenario is read") {
  auto scenario = ParseScenario(kFull, "s.yaml", "/home");
  REQUIRE_OK(scenario);
  REQUIRE_OK(CheckScenario(*scenario, "s.yaml"));
  CHECK(scenario->seed == 7);
  CHECK(scenario->arrivals.process == Process::kRamp);
  CHECK(scenario->arrivals.rate_end_per_s == 50);
  REQUIRE(scenario->load.size() == 5);
  const RequestMix& ask = scenario->load[0];
  CHECK(ask.name == "ask");
  CHECK(ask.questions_path == "/home/questions.jsonl");
  CHECK(ask.max_tokens.min == 8);
  CHECK(ask.max_tokens.max == 64);
  CHECK(ask.priority == -5);
  CHECK(ask.hints.latency_sla_us == 500);
  CHECK(ask.hints.deterministic == false);
  CHECK(ask.hints.sla_required == true);
  CHECK(ask.hints.policy == "balanced");
  CHECK(scenario->load[3].vectors_path == "/data/q.fvecs");
  CHECK(scenario->load[4].name == "writes");
  REQUIRE(scenario->probe);
  CHECK(scenario->probe_rate_per_s == 2);
  CHECK(scenario->slo.share == 0.95);
  CHECK(scenario->connection.token_file == "/home/token.txt");
  CHECK(scenario->connection.UsesTls());
  CHECK(scenario->connection.tls_ca == "/home/ca.pem");
  CHECK(scenario->connection.tls_cert == "/etc/client.pem");
  CHECK(scenario->connection.tls_key == "/home/client.key");
}

TEST_CASE("A sweep and a trace are read") {
  auto sweep = ParseScenario(
      "target: a:1\nload: [{kind: generate}]\nslo: {e2e_ms: 5}\n"
      "sweep: {rate_min: 2, rate_max: 99, factor: 2, refine: 3, step_s: 4, warmup_s: 0}\n",
      "s", "");
  REQUIRE_OK(sweep);
  REQUIRE_OK(CheckScenario(*sweep, "s"));
  CHECK(sweep->sweep->factor == 2);
  CHECK(sweep->sweep->refine == 3);
  auto trace = ParseScenario(
      "target: a:1\ntrace: t.jsonl\narrivals: {process: trace, speed: 2}\n"
      "load: [{kind: chat}]\n",
      "s", "/t");
  REQUIRE_OK(trace);
  REQUIRE_OK(CheckScenario(*trace, "s"));
  CHECK(trace->trace_path == "/t/t.jsonl");
}

TEST_CASE("What is wrong is named with its line and key") {
  const auto fails = [](const std::string& text, const std::string& part) {
    CAPTURE(text);
    auto scenario = ParseScenario(text, "s", "");
    const absl::Status status = scenario.ok() ? CheckScenario(*scenario, "s") : scenario.status();
    REQUIRE_STATUS(status, absl::StatusCode::kInvalidArgument, part);
  };
  const std::string good = "target: a:1\nload: [{kind: generate}]\n";
  fails("", "must hold one YAML document");
  fails("target: a:1\n", "load is missing");
  fails("load: []\n", "load must be a list of 1 to 32");
  fails("load: [{kind: generate}]\n", "no target");
  fails(good + "rat: 4\n", "s:3: unknown key \"rat\"");
  fails("target: a:1\nload: [{kind: sing}]\n", "load[0].kind must be one of: ask");
  fails("target: a:1\nload: [{kind: ask, collection: c}]\n", "load[0] (ask) needs questions");
  fails("target: a:1\nload: [{kind: search}]\n", "load[0] (search) needs a collection");
  fails("target: a:1\nload: [{kind: generate}, {kind: generate}]\n", "is given twice");
  fails(good + "arrivals: {process: poisson, rate: 2000000}\n",
        "arrivals.rate must be a number, 0.001 to 1e+06, but is 2000000");
  fails(good + "arrivals: {process: ramp, rate: 2}\n", "a ramp needs rate_end");
  fails(good + "arrivals: {process: trace}\n", "come together");
  fails(good + "sweep: {rate_min: 1}\n", "a sweep needs an slo");
  fails(good + "slo: {e2e_ms: 1}\nsweep: {rate_min: 9, rate_max: 2}\n", "above its rate_max");
  fails("target: a:1\napi: openai\nload: [{kind: search, collection: c}]\n", "not in the OpenAI");
  fails("target: a:1\napi: qdrant\nload: [{kind: upsert, collection: c}]\n", "Qdrant");
  fails("target: a:1\nload: [{kind: generate, max_tokens: {min: 9, max: 2}}]\n", "above its max");
  fails("target: a:1\nload: [{kind: generate, chat_template: x}]\n", "takes no chat_template");
  fails("target: a:1\nload: [{kind: generate, exact_share: 1}]\n", "has no recall");
  fails("target: a:1\nload: [{kind: generate, hints: {platform: [1]}}]\n", "hints.platform");
  REQUIRE_STATUS(ReadScenario("/nonexistent.yaml"), absl::StatusCode::kNotFound, "/nonexistent");
}

}  // namespace
}  // namespace baton::load
