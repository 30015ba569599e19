#include "loadtest/http_transport.h"  // header under test

#include <catch2/catch.hpp>
#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "tests/loadtest/load_runs.h"
#include "tests/loadtest/scripted_http_server.h"
#include "tests/loadtest/temporary_file.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

constexpr const char* kStreamHead =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";

void Pause(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

Scenario ChatLoad(const std::string& target, Kind kind = Kind::kChat) {
  Scenario scenario;
  scenario.target = target;
  scenario.api = Api::kOpenAi;
  scenario.arrivals = {.process = Process::kConstant, .rate_per_s = 20};
  scenario.duration_s = 0.5;
  RequestMix& mix = scenario.load.emplace_back();
  mix.kind = kind;
  mix.model = "m";
  mix.prompt_words = {3, 3};
  return scenario;
}

void StreamThree(const ScriptedHttpServer::Write& write) {
  write(kStreamHead);
  Pause(40);
  for (const char* word : {"a", "b", "c"}) {
    write(std::string("data: {\"choices\":[{\"delta\":{\"content\":\"") + word + "\"}}]}\n\n");
    Pause(10);
  }
  write(
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":3}}\n\n"
      "data: [DONE]\n\n");
}

TEST_CASE("A streamed chat over HTTP is timed as one over gRPC is") {
  ScriptedHttpServer server([](const ScriptedHttpServer::Request&,
                               const ScriptedHttpServer::Write& write) { StreamThree(write); });
  const TemporaryFile token("sesame\n");
  Scenario scenario = ChatLoad(server.target());
  scenario.connection.token_file = token.path();
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  const auto& f = outcome.figures;
  CHECK(f["requests.ok"] == 10);
  CHECK(f["tokens.generated"] == 30);
  CHECK(f["tokens.prompt"] == 50);
  CHECK(f["ttft_ms.p50"] >= 40);
  CHECK(f["e2e_ms.mean"].get<double>() >= f["ttft_ms.mean"].get<double>() + 18);
  const auto requests = server.requests();
  REQUIRE_FALSE(requests.empty());
  CHECK(requests[0].path == "/v1/chat/completions");
  CHECK(requests[0].authorization == "Bearer sesame");
  const auto body = nlohmann::json::parse(requests[0].body);
  CHECK(body["stream"] == true);
  CHECK(body["model"] == "m");
  CHECK(body["messages"][0]["role"] == "user");
  CHECK(body["max_tokens"] == 64);
}

TEST_CASE("A generate is a completion") {
  ScriptedHttpServer server(
      [](const ScriptedHttpServer::Request&, const ScriptedHttpServer::Write& write) {
        write(kStreamHead);
        write("data: {\"choices\":[{\"text\":\"a\"}]}\n\ndata: [DONE]\n\n");
      });
  const LoadOutcome outcome = RunScenario(ChatLoad(server.target(), Kind::kGenerate));
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 10);
  CHECK(server.requests()[0].path == "/v1/completions");
  CHECK(nlohmann::json::parse(server.requests()[0].body)["prompt"].is_string());
}

TEST_CASE("HTTP errors are counted under gRPC's names with message and retry hint") {
  ScriptedHttpServer server(
      [](const ScriptedHttpServer::Request&, const ScriptedHttpServer::Write& write) {
        write(
            "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 2\r\nConnection: close\r\n\r\n"
            "{\"error\": {\"message\": \"full\"}}");
      });
  const LoadOutcome outcome = RunScenario(ChatLoad(server.target()));
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["errors.RESOURCE_EXHAUSTED"] == 10);
  CHECK(outcome.figures["refusals.hinted_share"] == 1);
  CHECK(outcome.document["errors"][0]["message"] == "full");
  CHECK(CodeOfHttp(503) == "UNAVAILABLE");
  CHECK(CodeOfHttp(418) == "HTTP_418");
}

TEST_CASE("A stream that breaks off, and one that hangs, are no success") {
  ScriptedHttpServer server(
      [](const ScriptedHttpServer::Request&, const ScriptedHttpServer::Write& write) {
        write(kStreamHead);
        write("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
      });
  const LoadOutcome cut = RunScenario(ChatLoad(server.target()));
  CHECK(cut.figures["errors.INCOMPLETE_STREAM"] == 10);
  ScriptedHttpServer slow(
      [](const ScriptedHttpServer::Request&, const ScriptedHttpServer::Write& write) {
        write(kStreamHead);
        Pause(700);
      });
  Scenario scenario = ChatLoad(slow.target());
  scenario.load[0].deadline_ms = 100;
  scenario.arrivals.rate_per_s = 10;
  const LoadOutcome outcome = RunScenario(scenario);
  CHECK(outcome.figures["requests.ok"] == 0);
  CHECK(outcome.figures["errors.DEADLINE_EXCEEDED"].get<int>() +
            outcome.figures["requests.dropped"].get<int>() ==
        5);
}

TEST_CASE("A cancelled HTTP request is given up") {
  ScriptedHttpServer server(
      [](const ScriptedHttpServer::Request&, const ScriptedHttpServer::Write& write) {
        write(kStreamHead);
        Pause(1000);
      });
  Scenario scenario = ChatLoad(server.target());
  scenario.load[0].cancel_share = 1;
  scenario.load[0].cancel_after_ms = {5, 50};
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.given_up"] == 10);
}

TEST_CASE("An HTTP target that is not there is UNAVAILABLE") {
  REQUIRE_STATUS(RunScenario(ChatLoad("127.0.0.1:1")).status, absl::StatusCode::kUnavailable,
                 "nothing answers at 127.0.0.1:1");
  Scenario scenario = ChatLoad("127.0.0.1:1");
  scenario.connection.token_file = "/nonexistent";
  REQUIRE_STATUS(RunScenario(scenario).status, absl::StatusCode::kInvalidArgument,
                 "--token-file: cannot read /nonexistent: No such file");
  scenario.connection = {.tls_cert = "/nonexistent"};
  REQUIRE_STATUS(RunScenario(scenario).status, absl::StatusCode::kInvalidArgument,
                 "--tls-cert and --tls-key go together");
}

}  // namespace
}  // namespace baton::load
