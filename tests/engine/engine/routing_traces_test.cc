// Traces of requests on the study's devices: what routing by learned times is worth beside the best
// device alone and beside rules. On a virtual clock; ./dev bench hybrid has the rates.
#include <catch2/catch.hpp>
#include <cstdio>

#include "tests/support/routing_cases.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

RoutingCase Mixed(const std::string& trace = "mixed.trace") {
  auto of = ReadRoutingCase(trace, "mixed_node.yaml");
  REQUIRE_OK(of);
  return *std::move(of);
}

// Whether all SLAs are kept at such a rate.
bool Keeps(const RoutingCase& of, RoutingRun run, double per_second) {
  run.per_second = per_second;
  return SimulateRouting(of.node, of.trace, run).met() >= 0.99;
}

void CheckRates(const RoutingCase& of, double seconds) {
  double alone = 0;
  for (const Platform platform : {Platform::kGpu, Platform::kFpga, Platform::kCpu}) {
    alone = std::max(alone, HighestRateAlone(of, platform, seconds));
  }
  std::printf("routing_traces: seed %llu, one platform alone keeps all SLAs at %.0f/s\n",
              static_cast<unsigned long long>(of.trace.seed), alone);
  REQUIRE(alone > 0);
  CHECK(Keeps(of, HybridRun(seconds), 1.5 * alone));
  RoutingRun rules = StaticRun(seconds);
  rules.drift = true;
  const double by_rules = HighestRate(of.node, of.trace, rules);
  REQUIRE(by_rules > 0);
  RoutingRun learned = HybridRun(seconds);
  learned.drift = true;
  CHECK(Keeps(of, learned, 1.5 * by_rules));
}

TEST_CASE("the mixed trace: half as many requests again as one device alone or rules can keep") {
  CheckRates(Mixed(), /*seconds=*/4);
}

TEST_CASE("the mixed traces at length, from other seeds, too", "[.slow]") {
  const std::string trace = GENERATE("mixed.trace", "mixed_patient.trace");
  const uint64_t seed = GENERATE(20261122u, 1u, 2u, 3u);
  RoutingCase of = Mixed(trace);
  of.trace.seed = seed;
  CAPTURE(trace, seed);
  CheckRates(of, /*seconds=*/20);
}

TEST_CASE("each class can be kept by the GPU alone and by the FPGA alone") {
  const RoutingCase of = Mixed();
  for (const Platform platform : {Platform::kGpu, Platform::kFpga}) {
    RoutingRun run = HybridRun(4);
    run.only = {platform};
    CHECK(Keeps(of, run, 80));
  }
}

TEST_CASE("routing leaves a device that slows three times within 2 s") {
  const auto of = ReadRoutingCase("adapt.trace", "adapt_node.yaml");
  REQUIRE_OK(of);
  for (const double per_second : {10.0, 200.0}) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
      CAPTURE(per_second, seed);
      CHECK(SecondsToAdapt(*of, per_second, seed) <= 2);
    }
  }
}

TEST_CASE("the same trace gives the same outcome, and every request one") {
  const RoutingCase of = Mixed();
  RoutingRun run = HybridRun(2);
  run.per_second = 20'000;  // more than all can do
  run.drift = true;
  const RoutingOutcome first = SimulateRouting(of.node, of.trace, run);
  const RoutingOutcome second = SimulateRouting(of.node, of.trace, run);
  CHECK(first.met() < 0.99);
  REQUIRE(first.classes.size() == 3);
  for (size_t i = 0; i < first.classes.size(); ++i) {
    const RoutingOutcome::Class& of_class = first.classes[i];
    CHECK(of_class.latencies_us == second.classes[i].latencies_us);
    CHECK(of_class.missed == second.classes[i].missed);
    CHECK(of_class.requests >= static_cast<int64_t>(of_class.latencies_us.size()));
    CHECK(of_class.requests <=
          static_cast<int64_t>(of_class.latencies_us.size()) + of_class.missed);
  }
}

TEST_CASE("a trace that is none is refused by its line") {
  for (const auto& [text, line] :
       {std::pair("class a search 1 1 1 5 6", "line 1"), std::pair("\nclass a write 1 1 1 5", "2"),
        std::pair("class a search 1 2 1 5", "line 1"), std::pair("drift 0.5 gpu0 0", "line 1"),
        std::pair("burst 10 20 2", "line 1"), std::pair("nonsense", "line 1"),
        std::pair("class a search 0.5 1 1 5", "add up to 0.5")}) {
    REQUIRE_STATUS(ParseRoutingTrace(text), absl::StatusCode::kInvalidArgument, line);
  }
}

}  // namespace
}  // namespace baton
