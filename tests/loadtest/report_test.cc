#include "loadtest/report.h"  // header under test

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <sstream>

namespace baton::load {
namespace {

constexpr int64_t kMs = 1'000'000;

RequestRecord GenerateRecord() {
  RequestRecord record;
  record.code = "OK";
  record.intended_ns = 100 * kMs;
  record.sent_ns = 103 * kMs;
  record.first_output_ns = 150 * kMs;
  record.gaps_ns = {20 * kMs, 30 * kMs};
  record.done_ns = 220 * kMs;
  record.tokens = 8;
  return record;
}

TEST_CASE("Every latency counts from the intended send time") {
  Results results;
  results.Add(GenerateRecord());
  LoadOptions options;
  options.scenario = Scenario::kGenerate;
  const auto figures = nlohmann::json::parse(Report(options, results).Json())["figures"];
  CHECK(figures["ttft_ms.p50"] == 50);
  CHECK(figures["e2e_ms.p50"] == 120);
  CHECK(figures["tpot_ms.p50"] == 10);  // (120 - 50) / (8 - 1)
  CHECK(figures["itl_ms.mean"] == 25);
  CHECK(figures["itl_ms.samples"] == 2);
  CHECK(figures["send_lag_ms.p50"] == 3);
  CHECK(figures["wall_s"] == Approx(0.22));
  CHECK(figures["throughput.tokens_per_s"] == Approx(8 / 0.22));
}

TEST_CASE("Failed requests are counted by code and are in no latency") {
  Results results;
  results.Add(GenerateRecord());
  RequestRecord failed = GenerateRecord();
  failed.code = "RESOURCE_EXHAUSTED";
  failed.done_ns = 9000 * kMs;
  results.Add(failed);
  results.AddDropped();
  LoadOptions options;
  options.scenario = Scenario::kGenerate;
  const Report report(options, results);
  const auto figures = nlohmann::json::parse(report.Json())["figures"];
  CHECK(figures["requests.sent"] == 2);
  CHECK(figures["requests.ok"] == 1);
  CHECK(figures["requests.failed"] == 1);
  CHECK(figures["requests.dropped"] == 1);
  CHECK(figures["errors.RESOURCE_EXHAUSTED"] == 1);
  CHECK(figures["e2e_ms.max"] == 120);
  std::ostringstream out;
  report.Print(out);
  CHECK_THAT(out.str(), Catch::Contains("RESOURCE_EXHAUSTED 1") &&
                            Catch::Contains("client is the bottleneck") &&
                            Catch::Contains("Overload: 1 requests"));
}

TEST_CASE("A client in time is not called the bottleneck") {
  Results results;
  RequestRecord record = GenerateRecord();
  record.sent_ns = record.intended_ns + kMs / 2;
  results.Add(record);
  std::ostringstream out;
  Report(LoadOptions{}, results).Print(out);
  CHECK_THAT(out.str(), !Catch::Contains("bottleneck") && !Catch::Contains("Overload"));
}

TEST_CASE("What was not measured is absent from the JSON, and the rest of the contract is there") {
  Results results;
  LoadOptions options;
  options.scenario = Scenario::kSearch;
  options.seed = 11;
  options.commit = "abc";
  const auto document = nlohmann::json::parse(Report(options, results).Json());
  CHECK(document["figures"]["requests.sent"] == 0);
  CHECK_FALSE(document["figures"].contains("search_ms.p50"));
  CHECK_FALSE(document["figures"].contains("throughput.tokens_per_s"));
  for (const auto& [name, value] : document["figures"].items()) {
    CAPTURE(name);
    CHECK(value.is_number());
  }
  CHECK(document["machine"]["cores"] > 0);
  CHECK(document["commit"] == "abc");
  CHECK(document["seed"] == 11);
}

TEST_CASE("A JSON file that cannot be written is an error that names it") {
  Results results;
  const Report report(LoadOptions{}, results);
  const absl::Status status = report.WriteJson("/nonexistent/a.json");
  CHECK_THAT(std::string(status.message()), Catch::Contains("/nonexistent/a.json"));
}

}  // namespace
}  // namespace baton::load
