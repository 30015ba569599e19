#include "loadtest/report.h"  // header under test

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

#include "loadtest/html_report.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

constexpr int64_t kMs = 1'000'000;

Scenario OneMix() {
  Scenario scenario;
  scenario.target = "host:1";
  scenario.commit = "abc\xff";
  scenario.seed = 9;
  scenario.load.emplace_back().name = "generate";
  return scenario;
}

Results SomeResults(const Scenario& scenario) {
  Results results(scenario.slo, scenario.load, false);
  for (int64_t i = 0; i < 20; ++i) {
    RequestRecord record;
    record.code = i % 10 == 9 ? "UNAVAILABLE" : "OK";
    record.message = "a <b> & \"c\"";
    record.intended_ns = i * 100 * kMs;
    record.sent_ns = record.intended_ns;
    record.AddTokens(1, record.intended_ns + (50 + i) * kMs);
    record.AddTokens(1, record.intended_ns + (70 + i) * kMs);
    record.done_ns = record.intended_ns + (80 + i) * kMs;
    record.stages = {{.name = "prefill", .platform = "cpu", .queue_us = 100, .run_us = 900}};
    results.Add(record);
  }
  return results;
}

TEST_CASE("A document has figures, curves and what it is of") {
  const Scenario scenario = OneMix();
  Results results = SomeResults(scenario);
  const auto document = MakeDocument(scenario, absl::OkStatus(), results, nullptr);
  const auto& figures = document["figures"];
  CHECK(figures["requests.ok"] == 18);
  CHECK(figures["errors.UNAVAILABLE"] == 2);
  CHECK(figures["ttft_ms.samples"] == 18);
  CHECK(figures["route.prefill.cpu"] == 1);
  CHECK_FALSE(figures.contains("retrieved_ms.p50"));  // absent, not zero
  CHECK_FALSE(figures.contains("goodput.share"));     // no SLO, no goodput
  CHECK_FALSE(figures.contains("load.generate.requests.ok"));
  CHECK(document["cdf"]["e2e_ms"].back()[1] == 1);
  CHECK(document["samples"]["e2e_ms"].size() == 18);
  CHECK(document["timeline"].size() == 2);
  CHECK(document["seed"] == 9);
  CHECK(document["run"]["load"][0]["kind"] == "ask");
  REQUIRE_OK(ParseDocument(DumpDocument(document), "d"));
}

TEST_CASE("The table has what vLLM's users look for and its formulas") {
  Scenario scenario = OneMix();
  scenario.slo.e2e_ms = 90;
  Results results = SomeResults(scenario);
  const auto document = MakeDocument(scenario, absl::UnavailableError("it died"), results, nullptr);
  std::ostringstream table;
  PrintTable(document, table);
  for (const char* part :
       {"Successful requests:", "Request throughput (req/s):", "Output token throughput (tok/s):",
        "Request goodput (req/s):", "TTFT", "TPOT", "ITL", "E2E", "median", "p99.9", "UNAVAILABLE",
        "TPOT = (E2E - TTFT) / (tokens - 1)", "This report is partial: it died", "prefill"}) {
    CAPTURE(part);
    CHECK_THAT(table.str(), Catch::Contains(part));
  }
}

TEST_CASE("A client that is late or the bottleneck says so") {
  const Scenario scenario = OneMix();
  Results results(scenario.slo, scenario.load, false);
  RequestRecord record;
  record.code = "OK";
  record.sent_ns = 5 * kMs;
  record.done_ns = 9 * kMs;
  results.Add(record);
  CHECK_THAT(Warnings(MakeDocument(scenario, absl::OkStatus(), results, nullptr)),
             Catch::Contains("The client was late: 1 % of requests left 5.00 ms"));
  Results busy(scenario.slo, scenario.load, false);
  record.sent_ns = 0;
  busy.Add(record);
  CHECK(Warnings(MakeDocument(scenario, absl::OkStatus(), busy, nullptr)).empty());
  busy.client.busiest_thread = 0.97;
  CHECK_THAT(Warnings(MakeDocument(scenario, absl::OkStatus(), busy, nullptr)),
             Catch::Contains("The client is the bottleneck: its busiest thread computed 97 %"));
}

TEST_CASE("What is no report is refused") {
  for (const char* text : {"", "[]", "{}", "{\"figures\": 3}"}) {
    CAPTURE(text);
    REQUIRE_STATUS(ParseDocument(text, "d.json"), absl::StatusCode::kInvalidArgument, "d.json");
  }
  const Scenario scenario = OneMix();
  Results results = SomeResults(scenario);
  const auto document = MakeDocument(scenario, absl::OkStatus(), results, nullptr);
  for (const auto& [pointer, value] :
       std::vector<std::pair<std::string, nlohmann::json>>{{"/samples/e2e_ms", {"x"}},
                                                           {"/cdf/e2e_ms", {{1}}},
                                                           {"/timeline", {3}},
                                                           {"/stages", 4},
                                                           {"/stages/0/platforms/cpu", "x"},
                                                           {"/run/load", 4},
                                                           {"/sweep", {1}}}) {
    CAPTURE(pointer);
    auto bad = document;
    bad[nlohmann::json::json_pointer(pointer)] = value;
    REQUIRE_STATUS(
        ParseDocument(bad.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "d"),
        absl::StatusCode::kInvalidArgument, "not a report");
  }
}

TEST_CASE("The page is self-contained and escapes what servers say") {
  const Scenario scenario = OneMix();
  Results results = SomeResults(scenario);
  SweepOutcome sweep;
  sweep.steps = {{.rate_per_s = 10, .ttft_p50_ms = 5, .ttft_p99_ms = 9, .holds = true},
                 {.rate_per_s = 20, .ttft_p50_ms = 8, .ttft_p99_ms = 90}};
  sweep.rate_at_slo = 10;
  const auto document = MakeDocument(scenario, absl::OkStatus(), results, &sweep);
  const std::string html = RenderHtml({{"a <title>", document}, {"another", document}});
  for (const char* id : {"run0-latency", "run0-throughput", "run0-rate", "run0-goodput",
                         "run0-stages", "run1-latency"}) {
    CHECK_THAT(html, Catch::Contains(std::string("id=\"") + id + "\""));
  }
  CHECK_THAT(html, Catch::Contains("a &lt;title&gt;"));
  for (const char* outside : {"<script", "src=", "href=", "@import", "url(", "<b>"}) {
    CAPTURE(outside);
    CHECK(html.find(outside) == std::string::npos);
  }
}

}  // namespace
}  // namespace baton::load
