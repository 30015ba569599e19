#include "engine/schedule/route_choice.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

constexpr Classification kBulk{
    .work_class = WorkClass::kSearchBulk, .preferred = Platform::kGpu, .rule = "search-bulk"};
constexpr Classification kPinnedGpu{
    .work_class = WorkClass::kSearchBulk, .preferred = Platform::kGpu, .rule = "pin"};

std::vector<ExecutorChoice> CpuOnly() {
  return {{.platform = Platform::kCpu, .device = "cpu0"},
          {.platform = Platform::kGpu, .device = "gpu", .ineligible = "no driver"},
          {.platform = Platform::kFpga, .device = "fpga", .ineligible = "no XRT"}};
}

std::vector<ExecutorChoice> All() {
  return {{.platform = Platform::kCpu, .device = "cpu0"},
          {.platform = Platform::kGpu, .device = "gpu0", .holds_data = false},
          {.platform = Platform::kFpga, .device = "fpga0", .emulated = true}};
}

TEST_CASE("the preferred platform wins where it can take the work") {
  const RouteChoice choice = ChooseRoute({}, kBulk, std::nullopt, All());
  REQUIRE(choice.chosen == 1);
  CHECK(choice.route.device == "gpu0");
  CHECK_FALSE(choice.route.fallback);
  CHECK(choice.route.rule == "search-bulk");
  CHECK(choice.route.passed_over.size() == 2);
}

TEST_CASE("the configured fallback is used, and said") {
  const RouteChoice choice = ChooseRoute({.fallback = "cpu"}, kBulk, std::nullopt, CpuOnly());
  REQUIRE(choice.chosen == 0);
  CHECK(choice.route.fallback);
  CHECK(choice.route.preferred == Platform::kGpu);
  CHECK(choice.route.reason == "fallback cpu: gpu cannot take it");
  REQUIRE(choice.route.passed_over.size() == 2);
  CHECK(choice.route.passed_over[0].reason == "no driver");
  CHECK(choice.route.passed_over[1].reason == "no XRT");
}

TEST_CASE("without a fallback the work is refused with the reason") {
  for (const auto& choice : {ChooseRoute({.fallback = "none"}, kBulk, std::nullopt, CpuOnly()),
                             ChooseRoute({}, kBulk, Fallback::kNone, CpuOnly()),
                             ChooseRoute({}, kPinnedGpu, std::nullopt, CpuOnly())}) {
    CHECK(choice.chosen == -1);
    CHECK(absl::IsUnavailable(choice.status));
    CHECK(std::string(choice.status.message()).find("no driver") != std::string::npos);
    CHECK(choice.route.device.empty());
  }
}

TEST_CASE("a pin falls back where the request says so") {
  CHECK(ChooseRoute({}, kPinnedGpu, Fallback::kCpu, CpuOnly()).chosen == 0);
}

TEST_CASE("alternate takes the best score of any platform") {
  std::vector<ExecutorChoice> choices = All();
  choices[1].ineligible = "busy";
  choices[0].queue_depth = 9;
  CHECK(ChooseRoute({}, kBulk, Fallback::kAlternate, choices).chosen == 2);
  CHECK(ChooseRoute({}, kBulk, Fallback::kCpu, choices).chosen == 0);
}

TEST_CASE("an emulated device is named as such") {
  std::vector<ExecutorChoice> choices = All();
  choices[1].ineligible = "busy";
  const RouteChoice choice = ChooseRoute({}, kBulk, Fallback::kAlternate, {choices[1], choices[2]});
  REQUIRE(choice.chosen == 1);
  CHECK(choice.route.emulated);
}

TEST_CASE("two devices of the preferred platform: the shorter queue") {
  std::vector<ExecutorChoice> choices = All();
  choices.push_back(choices[1]);
  choices[1].queue_depth = 3;
  CHECK(ChooseRoute({}, kBulk, std::nullopt, choices).chosen == 3);
}

TEST_CASE("the balanced score is 0.4 performance, 0.3 queue, 0.2 capability, 0.1 residency") {
  std::vector<ExecutorChoice> choices = All();
  choices[0].queue_depth = 2;
  const RouteChoice choice = ChooseRoute({}, kBulk, std::nullopt, choices);
  const RouteCandidate& cpu = choice.candidates[0];
  CHECK(cpu.score_performance == Approx(0.4 * 0.5));
  CHECK(cpu.score_queue == Approx(0.3 / 3));
  CHECK(cpu.score_capability == Approx(0.2));
  CHECK(cpu.score_residency == Approx(0.1));
  CHECK(cpu.score == Approx(0.6));
  const RouteCandidate& gpu = choice.candidates[1];
  CHECK(gpu.score == Approx(0.4 + 0.3 + 0.2 + 0.0));
}

TEST_CASE("every policy is a row of weights that sums to one") {
  for (const char* policy :
       {"latency_optimized", "throughput_optimized", "power_optimized", "balanced"}) {
    const RouteChoice choice = ChooseRoute({.policy = policy}, kBulk, std::nullopt,
                                           {{.platform = Platform::kGpu, .device = "gpu0"}});
    CHECK(choice.candidates[0].score == Approx(1.0));
  }
}

TEST_CASE("no executor at all is an error, not a crash") {
  const RouteChoice choice = ChooseRoute({}, kBulk, std::nullopt, {});
  CHECK(choice.chosen == -1);
  CHECK(absl::IsUnavailable(choice.status));
}

}  // namespace
}  // namespace baton
