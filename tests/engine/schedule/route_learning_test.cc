// What learned times, budgets and degradation make of a route; what the rules alone make of it is
// in route_choice_test.cc.
#include <catch2/catch.hpp>

#include "engine/schedule/route_choice.h"

namespace baton {
namespace {

constexpr Classification kSingle{
    .work_class = WorkClass::kSearchSingle, .preferred = Platform::kFpga, .rule = "search-single"};
constexpr Classification kPinned{
    .work_class = WorkClass::kSearchSingle, .preferred = Platform::kFpga, .rule = "pin"};

CostPrediction Us(double run_us) {
  return {.run_us = run_us, .run_us_high = run_us * 1.3, .samples = 100};
}

// A CPU that is known to be quicker than the preferred FPGA, and a GPU that nothing is known of.
std::vector<ExecutorChoice> Node() {
  return {{.platform = Platform::kCpu, .device = "cpu0", .predicted = Us(200), .sure = true},
          {.platform = Platform::kGpu, .device = "gpu0"},
          {.platform = Platform::kFpga, .device = "fpga0", .predicted = Us(500), .sure = true}};
}

TEST_CASE("the prior holds until the times of both are sure") {
  std::vector<ExecutorChoice> choices = Node();
  RouteChoice choice = ChooseRoute({}, kSingle, {}, choices);
  REQUIRE(choice.chosen == 0);
  CHECK_FALSE(choice.route.fallback);
  CHECK(choice.route.reason == "predicted 200 us, scored above fpga");
  choices[0].sure = false;
  CHECK(ChooseRoute({}, kSingle, {}, choices).chosen == 2);
  choices[0].sure = true;
  choices[2].sure = false;
  choice = ChooseRoute({}, kSingle, {}, choices);
  CHECK(choice.chosen == 2);
  CHECK(choice.route.reason == "preferred by rule search-single");
}

TEST_CASE("a pin is no prior") { CHECK(ChooseRoute({}, kPinned, {}, Node()).chosen == 2); }

TEST_CASE("the scores of known times, and how much quicker one is") {
  const RouteChoice choice = ChooseRoute({}, kSingle, {}, Node());
  const RouteCandidate& cpu = choice.candidates[0];
  const RouteCandidate& gpu = choice.candidates[1];
  const RouteCandidate& fpga = choice.candidates[2];
  CHECK(cpu.score_performance == Approx(0.4));
  CHECK(fpga.score_performance == Approx(0.4 * 200 / 500));
  CHECK(gpu.score_performance == Approx(0.4 * 0.5));
  CHECK(cpu.speedup == Approx(2.5));
  CHECK(fpga.speedup == Approx(0.4));
  CHECK(gpu.speedup == 0);
  CHECK(cpu.predicted_us == 200);
  CHECK(cpu.predicted_us_high == 260);
  CHECK(cpu.samples == 100);
  CHECK(cpu.sure);
  CHECK_FALSE(gpu.sure);
}

TEST_CASE("each part of a score is 0 to 1 before its weight, whatever the executors are like") {
  RouteOptions options;
  std::vector<ExecutorChoice> choices = Node();
  choices[0].queue_depth = 1'000'000;
  choices[2].predicted = Us(1e-6);
  choices[1].capacity = 0;
  choices[1].holds_data = false;
  for (const Policy policy : {Policy::kLatencyOptimized, Policy::kThroughputOptimized,
                              Policy::kPowerOptimized, Policy::kBalanced}) {
    const RouteWeights& weights = options.WeightsOf(policy);
    CHECK(weights.sum() == Approx(1));
    for (const RouteCandidate& c :
         ChooseRoute(options, kSingle, {.policy = policy}, choices).candidates) {
      for (const auto& [score, weight] : {std::pair(c.score_performance, weights.performance),
                                          std::pair(c.score_queue, weights.queue),
                                          std::pair(c.score_capability, weights.capability),
                                          std::pair(c.score_residency, weights.residency)}) {
        CHECK(score >= 0);
        CHECK(score <= weight + 1e-12);
      }
    }
  }
}

TEST_CASE("a long queue outweighs a quicker device, as the policy has it") {
  std::vector<ExecutorChoice> choices = Node();
  choices[0].queue_depth = 20;
  choices[2].predicted = Us(250);
  CHECK(ChooseRoute({}, kSingle, {.policy = Policy::kLatencyOptimized}, choices).chosen == 2);
  choices[2].predicted = Us(800);
  CHECK(ChooseRoute({}, kSingle, {.policy = Policy::kThroughputOptimized}, choices).chosen == 0);
}

TEST_CASE("the wait before a run counts as the run does") {
  std::vector<ExecutorChoice> choices = Node();
  choices[0].wait_us = 800;
  const RouteChoice choice = ChooseRoute({}, kSingle, {}, choices);
  CHECK(choice.chosen == 2);
  CHECK(choice.candidates[0].score_performance == Approx(0.4 * 500 / 1000));
  CHECK(choice.candidates[0].predicted_us == 200);
}

TEST_CASE("power_optimized goes by energy where that is known of all") {
  std::vector<ExecutorChoice> choices = Node();
  choices[0].watts = 150;  // 30 mJ
  choices[2].watts = 20;   // 10 mJ
  const Hints power = {.policy = Policy::kPowerOptimized};
  RouteChoice choice = ChooseRoute({}, kSingle, power, choices);
  CHECK(choice.chosen == 2);
  CHECK(choice.candidates[0].predicted_joules == Approx(0.03));
  CHECK(choice.candidates[0].score_performance == Approx(0.3 / 3));
  CHECK(ChooseRoute({}, kSingle, {}, choices).chosen == 0);
  choices[2].watts = 0;
  CHECK(ChooseRoute({}, kSingle, power, choices).chosen == 0);
}

TEST_CASE("an SLA that is known to be missed sends work elsewhere, or refuses it where asked") {
  std::vector<ExecutorChoice> choices = Node();
  choices[0].wait_us = 1800;  // 2 ms with its run
  choices[1].predicted = Us(400);
  choices[1].sure = true;
  choices[1].holds_data = false;
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 450}, choices).chosen == 1);
  // None can: best effort, unless the SLA is required.
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 100}, choices).chosen >= 0);
  const RouteChoice refused =
      ChooseRoute({}, kSingle, {.latency_sla_us = 100, .sla_required = true}, choices);
  CHECK(refused.chosen == -1);
  CHECK(absl::IsFailedPrecondition(refused.status));
  CHECK_THAT(std::string(refused.status.message()),
             Catch::Contains("hints.latency_sla_us is 100, but"));
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 450, .sla_required = true}, choices).chosen ==
        1);
  // One that is late in one of 20 cases is as good as none where another one is not.
  choices[0].wait_us = 225;
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 530}, choices).chosen == 0);
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 480}, choices).chosen == 0);  // both may be
  choices[0].queue_depth = 100;
  choices[2].predicted = Us(400);
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 450}, choices).chosen == 2);
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 490}, choices).chosen == 0);
  choices[0].wait_us = 1800;
  choices[2].predicted = Us(500);
  // What is not known is not held against anybody.
  choices[2].sure = false;
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 1, .sla_required = true}, choices).chosen == 2);
}

TEST_CASE("an executor to be avoided takes work only where there is no other way") {
  std::vector<ExecutorChoice> choices = Node();
  choices[2].sure = false;
  choices[2].avoid = "hot";
  RouteChoice choice = ChooseRoute({}, kSingle, {}, choices);
  CHECK(choice.chosen == 0);
  CHECK(choice.route.fallback);
  CHECK(choice.route.passed_over.back().reason == "hot");
  CHECK(ChooseRoute({}, kSingle, {.fallback = Fallback::kNone}, choices).chosen == 2);
  CHECK(ChooseRoute({}, kPinned, {}, choices).chosen == 2);
}

TEST_CASE("below half of a device's capacity the CPU goes before the other devices") {
  std::vector<ExecutorChoice> choices = Node();
  for (ExecutorChoice& choice : choices) choice.sure = false;
  choices[0].queue_depth = 3;
  choices[2].avoid = "at 45 % of its capacity";
  const Hints alternate = {.fallback = Fallback::kAlternate};
  CHECK(ChooseRoute({}, kSingle, alternate, choices).chosen == 1);
  choices[0].share = 0.55;
  CHECK(ChooseRoute({}, kSingle, alternate, choices).chosen == 0);
}

TEST_CASE("who was passed over for long gets a probe, but none that would cost too much") {
  std::vector<ExecutorChoice> choices = Node();
  choices[2].probe = true;
  RouteChoice choice = ChooseRoute({}, kSingle, {}, choices);
  CHECK(choice.chosen == 2);
  CHECK(choice.probe);
  CHECK_THAT(choice.route.reason, Catch::Contains("probe"));
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 300}, choices).chosen == 0);
  CHECK(ChooseRoute({}, kSingle, {.latency_sla_us = 700}, choices).probe);
  choices[2].predicted = Us(200 * 21);
  CHECK(ChooseRoute({}, kSingle, {}, choices).chosen == 0);
}

}  // namespace
}  // namespace baton
