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
  const RouteChoice choice = ChooseRoute({}, kBulk, {}, All());
  REQUIRE(choice.chosen == 1);
  CHECK(choice.route.device == "gpu0");
  CHECK_FALSE(choice.route.fallback);
  CHECK(choice.route.rule == "search-bulk");
  CHECK(choice.route.passed_over.size() == 2);
}

TEST_CASE("the configured fallback is used, and said") {
  const RouteChoice choice = ChooseRoute({.fallback = "cpu"}, kBulk, {}, CpuOnly());
  REQUIRE(choice.chosen == 0);
  CHECK(choice.route.fallback);
  CHECK(choice.route.preferred == Platform::kGpu);
  CHECK(choice.route.reason == "fallback cpu: gpu cannot take it");
  REQUIRE(choice.route.passed_over.size() == 2);
  CHECK(choice.route.passed_over[0].reason == "no driver");
  CHECK(choice.route.passed_over[1].reason == "no XRT");
}

TEST_CASE("without a fallback the work is refused with the reason") {
  for (const auto& choice : {ChooseRoute({.fallback = "none"}, kBulk, {}, CpuOnly()),
                             ChooseRoute({}, kBulk, {.fallback = Fallback::kNone}, CpuOnly()),
                             ChooseRoute({}, kPinnedGpu, {}, CpuOnly())}) {
    CHECK(choice.chosen == -1);
    CHECK(absl::IsUnavailable(choice.status));
    CHECK(std::string(choice.status.message()).find("no driver") != std::string::npos);
    CHECK(choice.route.device.empty());
  }
}

TEST_CASE("a pin falls back where the request says so") {
  CHECK(ChooseRoute({}, kPinnedGpu, {.fallback = Fallback::kCpu}, CpuOnly()).chosen == 0);
}

TEST_CASE("alternate takes the best score of any platform") {
  std::vector<ExecutorChoice> choices = All();
  choices[1].ineligible = "busy";
  choices[0].queue_depth = 9;
  CHECK(ChooseRoute({}, kBulk, {.fallback = Fallback::kAlternate}, choices).chosen == 2);
  CHECK(ChooseRoute({}, kBulk, {.fallback = Fallback::kCpu}, choices).chosen == 0);
}

TEST_CASE("an emulated device is named as such") {
  std::vector<ExecutorChoice> choices = All();
  choices[1].ineligible = "busy";
  const RouteChoice choice =
      ChooseRoute({}, kBulk, {.fallback = Fallback::kAlternate}, {choices[1], choices[2]});
  REQUIRE(choice.chosen == 1);
  CHECK(choice.route.emulated);
}

TEST_CASE("two devices of the preferred platform: the shorter queue") {
  std::vector<ExecutorChoice> choices = All();
  choices.push_back(choices[1]);
  choices[1].queue_depth = 3;
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 3);
}

TEST_CASE("of two devices that score the same the one on the other stage's package is taken") {
  std::vector<ExecutorChoice> choices = All();
  choices.push_back(choices[1]);
  choices[3].device = "gpu1";
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
  choices[3].paired = true;
  const RouteChoice tie = ChooseRoute({}, kBulk, {}, choices);
  REQUIRE(tie.chosen == 3);
  CHECK(tie.route.passed_over[1].reason ==
        "scores tie, but it is on another package than the other stage's device");
  choices[1].paired = true;  // both: the first
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
}

TEST_CASE("a pair wins ties and nothing else") {
  std::vector<ExecutorChoice> choices = All();
  choices.push_back(choices[1]);
  choices[3].paired = true;
  choices[3].queue_depth = 1;  // it would have to wait
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
  // Learned times: as good within what they are known by, and not.
  choices[3].queue_depth = 0;
  for (const double us : {100.0, 102.0, 104.0}) {
    choices[1].sure = choices[3].sure = true;
    choices[1].predicted = {.run_us = 100, .run_us_high = 110, .samples = 99};
    choices[3].predicted = {.run_us = us, .run_us_high = us + 10, .samples = 99};
    INFO(us);
    CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == (us < 103 ? 3 : 1));
  }
  // Not one that is spared, or may not take it.
  choices[3].predicted = choices[1].predicted;
  choices[3].avoid = "it is spared";
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
  choices[3].avoid.clear();
  choices[3].ineligible = "it is not healthy";
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
  // Nor one of a platform that is not preferred, while times are not known.
  choices = All();
  choices[2].paired = true;
  choices[1].queue_depth = 9;
  CHECK(ChooseRoute({}, kBulk, {}, choices).chosen == 1);
}

TEST_CASE("the balanced score is 0.4 performance, 0.3 queue, 0.2 capability, 0.1 residency") {
  std::vector<ExecutorChoice> choices = All();
  choices[0].queue_depth = 2;
  const RouteChoice choice = ChooseRoute({}, kBulk, {}, choices);
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
    const RouteChoice choice = ChooseRoute({.policy = policy}, kBulk, {},
                                           {{.platform = Platform::kGpu, .device = "gpu0"}});
    CHECK(choice.candidates[0].score == Approx(1.0));
  }
}

TEST_CASE("a row of weights is the options'") {
  RouteOptions options;
  options.latency_optimized = {
      .performance = 0.1, .queue = 0.2, .capability = 0.3, .residency = 0.4};
  const RouteChoice choice =
      ChooseRoute(options, kBulk, {.policy = Policy::kLatencyOptimized}, All());
  CHECK(choice.candidates[2].score_performance == Approx(0.1 * 0.5));
  CHECK(choice.candidates[2].score_queue == Approx(0.2));
  CHECK(choice.candidates[2].score_capability == Approx(0.3));
  CHECK(choice.candidates[2].score_residency == Approx(0.4));
  CHECK(choice.candidates[1].score_residency == 0);
}

TEST_CASE("an excluded platform takes nothing, and a fallback goes around it") {
  const RouteChoice choice = ChooseRoute(
      {}, kBulk, {.fallback = Fallback::kAlternate, .exclude = PlatformSet{Platform::kGpu}}, All());
  REQUIRE(choice.chosen >= 0);
  CHECK(choice.route.platform != Platform::kGpu);
  CHECK(choice.route.fallback);
  CHECK_FALSE(choice.candidates[1].eligible);
  CHECK(choice.candidates[1].reason == "the request excludes gpu");
  const RouteChoice none = ChooseRoute(
      {}, kBulk,
      {.fallback = Fallback::kCpu, .exclude = PlatformSet{Platform::kGpu, Platform::kFpga}},
      {All()[1], All()[2]});
  CHECK(none.chosen == -1);
  CHECK_THAT(std::string(none.status.message()), Catch::Contains("the request excludes gpu"));
}

TEST_CASE("placed work prefers the first of its platforms and goes nowhere else") {
  RouteOptions options{.fallback = "alternate"};
  options.platforms.of[static_cast<int>(WorkClass::kSearchBulk)] = {"fpga", "cpu"};
  RouteChoice choice = ChooseRoute(options, kBulk, {}, All());
  REQUIRE(choice.chosen == 2);
  CHECK(choice.route.rule == "placement");
  CHECK(choice.route.preferred == Platform::kFpga);
  CHECK(choice.candidates[1].reason == "route.platforms.search_bulk leaves gpu out");

  std::vector<ExecutorChoice> choices = All();
  choices[2].ineligible = "ill";
  CHECK(ChooseRoute(options, kBulk, {}, choices).chosen == 0);
  choices[0].ineligible = "ill, too";
  CHECK(ChooseRoute(options, kBulk, {}, choices).chosen == -1);  // though the GPU is well
  choice = ChooseRoute(options, kPinnedGpu, {}, All());
  CHECK(choice.chosen == -1);
  CHECK_THAT(std::string(choice.status.message()),
             Catch::Contains("route.platforms.search_bulk leaves gpu out"));

  // A rule's platform that is among them stays preferred.
  options.platforms.of[static_cast<int>(WorkClass::kSearchBulk)] = {"fpga", "gpu"};
  CHECK(ChooseRoute(options, kBulk, {}, All()).route.rule == "search-bulk");
}

TEST_CASE("how often failed work is done again is what the fallback says") {
  CHECK(RetriesOf({}, {}) == 1);
  CHECK(RetriesOf({.fallback = "none"}, {}) == 0);
  CHECK(RetriesOf({.fallback = "retry", .retries = 4}, {}) == 4);
  CHECK(RetriesOf({}, {.fallback = Fallback::kRetry}) == 2);
  CHECK(RetriesOf({}, {.fallback = Fallback::kRetry, .retries = 7}) == 7);
  CHECK(RetriesOf({}, {.platform = Platform::kGpu}) == 0);
  CHECK(RetriesOf({}, {.platform = Platform::kGpu, .fallback = Fallback::kAlternate}) == 1);
}

TEST_CASE("retry may go anywhere when the preferred platform cannot take work") {
  CHECK(ChooseRoute({}, kBulk, {.fallback = Fallback::kRetry}, CpuOnly()).chosen == 0);
}

TEST_CASE("no executor at all is an error, not a crash") {
  const RouteChoice choice = ChooseRoute({}, kBulk, {}, {});
  CHECK(choice.chosen == -1);
  CHECK(absl::IsUnavailable(choice.status));
}

}  // namespace
}  // namespace baton
