#include "engine/plan/planner.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/support/status_matchers.h"

namespace baton::plan {
namespace {

constexpr auto kSingle = static_cast<size_t>(WorkClass::kSearchSingle);
constexpr auto kDecode = static_cast<size_t>(WorkClass::kDecode);

// A device of 1 ms a search and 2 ms a step of up to two sequences.
Device TestDevice(const std::string& name, Platform platform) {
  return {.name = name,
          .platform = platform,
          .idle_w = 10,
          .max_w = 110,
          .cost_per_hour = 2,
          .curves = {{WorkClass::kSearchSingle, {{1, 1}, {3, 2}}},
                     {WorkClass::kDecode, {{1, 2}, {2, 2}}}}};
}

Workload Searches(double per_second, double sla_ms = 0) {
  return {.requests = {{.name = "search",
                        .per_second = per_second,
                        .sla_ms = sla_ms,
                        .stages = {{.work_class = WorkClass::kSearchSingle}}}}};
}

TEST_CASE("a curve is straight between its points and repeats beyond them") {
  const ServiceCurve curve{WorkClass::kSearchBulk, {{10, 4}, {20, 6}, {100, 8}}};
  CHECK(curve.RunMs(1) == 4);
  CHECK(curve.RunMs(10) == 4);
  CHECK(curve.RunMs(15) == 5);
  CHECK(curve.RunMs(60) == 7);
  CHECK(curve.RunMs(100) == 8);
  CHECK(curve.RunMs(250) == Approx(8 + 8 + 6.75));
}

TEST_CASE("one class on one device, by hand") {
  // 500 a second of 1 ms: half busy, waits 1 ms * 0.5 / 0.5 / 2.
  const Fleet fleet{.price_per_kwh = 0.5,
                    .host_w = 40,
                    .host_cost_per_hour = 1,
                    .devices = {TestDevice("a", Platform::kCpu)}};
  Placement placement;
  placement.fill(-1);
  placement[kSingle] = 0;
  const Plan plan = Evaluate(Searches(500, 4), fleet, placement);
  REQUIRE(plan.classes.size() == 1);
  const ClassPlan& search = plan.classes[0];
  CHECK(search.per_second == Approx(500));
  CHECK(search.queue_ms == Approx(0.5));
  CHECK(search.run_ms == Approx(1));
  CHECK(search.capacity_per_second == Approx(1000));
  CHECK(search.utilisation == Approx(0.5));
  CHECK(search.watts == Approx(60));
  // 2 an hour, 0.06 kW at 0.5; 1.8 million requests.
  CHECK(search.cost_per_million == Approx((2 + 0.03) / 1.8));
  CHECK(plan.watts == Approx(100));
  CHECK(plan.cost_per_hour == Approx(2 + 1 + 0.1 * 0.5));
  CHECK(plan.cost_per_million == Approx(3.05 / 1.8));
  CHECK(plan.requests[0].latency_ms == Approx(1.5));
  CHECK(plan.requests[0].quantile_ms > 1.5);
  CHECK(plan.met);
  CHECK_FALSE(Evaluate(Searches(500, 1.5), fleet, placement).met);
  CHECK_FALSE(Evaluate(Searches(1000), fleet, placement).stable);
}

TEST_CASE("a launch waits for the step that runs, a step for the launches") {
  Workload workload = Searches(250);
  workload.requests.push_back({.name = "tell",
                               .per_second = 1,
                               .stages = {{.work_class = WorkClass::kDecode, .items = 100}}});
  const Fleet fleet{.devices = {TestDevice("a", Platform::kCpu)}};
  Placement placement;
  placement.fill(-1);
  placement[kSingle] = placement[kDecode] = 0;
  const Plan plan = Evaluate(workload, fleet, placement);
  REQUIRE(plan.classes.size() == 2);
  const ClassPlan& decode = plan.classes[0];
  const ClassPlan& search = plan.classes[1];
  // A quarter of the time goes to searches, so a sequence's 200 ms are 267.
  CHECK(decode.utilisation == Approx(0.1));
  CHECK(decode.run_ms > 266);
  CHECK(plan.devices[0].utilisation == Approx(0.35));
  const double alone_ms = 0.25 / 0.75 / 2;
  // A step of 2 ms runs in a quarter to a fifth of the time.
  CHECK(search.queue_ms > alone_ms + 0.15);
  CHECK(search.queue_ms < alone_ms + 0.4);
}

TEST_CASE("what is moved between devices takes its time") {
  Workload workload;
  workload.requests.push_back(
      {.name = "ask",
       .per_second = 0.001,
       .stages = {{.work_class = WorkClass::kSearchSingle, .input_mb = 900},
                  {.work_class = WorkClass::kDecode, .items = 10, .input_mb = 24}}});
  Fleet fleet{.devices = {TestDevice("a", Platform::kGpu), TestDevice("b", Platform::kFpga)}};
  fleet.devices[0].link_gb_per_s = 24;
  fleet.devices[1].link_gb_per_s = 12;
  Placement placement;
  placement.fill(-1);
  placement[kSingle] = 0;
  placement[kDecode] = 1;
  CHECK(Evaluate(workload, fleet, placement).requests[0].latency_ms ==
        Approx(1 + 2 + 20).epsilon(1e-3));
  placement[kDecode] = 0;
  CHECK(Evaluate(workload, fleet, placement).requests[0].latency_ms ==
        Approx(1 + 20).epsilon(1e-3));
}

TEST_CASE("the best plan keeps its SLAs first and is cheap then") {
  Fleet fleet{.devices = {TestDevice("slow", Platform::kCpu), TestDevice("fast", Platform::kGpu)}};
  fleet.devices[1].curves[0].points = {{1, 0.1}};
  fleet.devices[1].cost_per_hour = 9;
  const auto relaxed = BestPlan(Searches(100, 50), fleet, {true, true});
  REQUIRE_OK(relaxed.status());
  CHECK(relaxed->placement[kSingle] == 0);
  const auto hurried = BestPlan(Searches(100, 0.9), fleet, {true, true});
  REQUIRE_OK(hurried.status());
  CHECK(hurried->placement[kSingle] == 1);
  CHECK(hurried->met);
  CHECK(hurried->devices[0].cost_per_hour == 0);  // nobody needs it
  // The least late where none is in time.
  const auto late = BestPlan(Searches(100, 0.05), fleet, {true, true});
  REQUIRE_OK(late.status());
  CHECK(late->placement[kSingle] == 1);
  CHECK_FALSE(late->met);
  // A placement that is asked for is kept.
  Workload placed = Searches(100, 0.9);
  placed.placement[kSingle] = "slow";
  const auto fixed = BestPlan(placed, fleet, {true, true});
  REQUIRE_OK(fixed.status());
  CHECK(fixed->placement[kSingle] == 0);
  CHECK(BestPlan(Searches(100), fleet, {true, true}, {false, true})->placement[kSingle] == 1);
}

TEST_CASE("what cannot be placed is named") {
  const Fleet fleet{.devices = {TestDevice("a", Platform::kCpu)}};
  Workload workload = Searches(1);
  workload.placement[kSingle] = "b";
  REQUIRE_STATUS(BestPlan(workload, fleet, {true}).status(), absl::StatusCode::kInvalidArgument,
                 "placement.search_single: there is no device b");
  workload.placement[kSingle] = "a";
  REQUIRE_STATUS(BestPlan(workload, fleet, {false}).status(), absl::StatusCode::kInvalidArgument,
                 "device a cannot take it");
  workload = Searches(1);
  workload.requests[0].stages.push_back({.work_class = WorkClass::kPrefill});
  REQUIRE_STATUS(BestPlan(workload, fleet, {true}).status(), absl::StatusCode::kInvalidArgument,
                 "no device has a curve of prefill");
  Fleet crowd;
  for (int i = 0; i < 60; ++i) crowd.devices.push_back(TestDevice(std::to_string(i), {}));
  for (Device& device : crowd.devices) device.curves.push_back({WorkClass::kEmbed, {{1, 1}}});
  workload = Searches(1);
  workload.requests[0].stages.push_back({.work_class = WorkClass::kDecode});
  workload.requests[0].stages.push_back({.work_class = WorkClass::kEmbed});
  REQUIRE_STATUS(BestPlan(workload, crowd, std::vector<bool>(60, true)).status(),
                 absl::StatusCode::kInvalidArgument, "20000 placements");
}

TEST_CASE("what binds is a full device or an SLA") {
  const Fleet fleet{.devices = {TestDevice("a", Platform::kCpu)}};
  Placement placement;
  placement.fill(-1);
  placement[kSingle] = 0;
  const Binding full = FindBinding(Searches(100), fleet, placement);
  CHECK(full.load == Approx(10).epsilon(1e-3));
  CHECK(full.what == "device a is full");
  const Binding late = FindBinding(Searches(100, 4), fleet, placement);
  CHECK(late.what == "the SLA of search");
  CHECK(late.load > 2);
  CHECK(late.load < 10);
  CHECK(Evaluate(Searches(100, 4), fleet, placement, late.load * 0.999).met);
  CHECK_FALSE(Evaluate(Searches(100, 4), fleet, placement, late.load * 1.001).met);
  CHECK(FindBinding(Searches(100, 0.5), fleet, placement).load == 0);  // idle it takes 1 ms
  const Binding beyond = FindBinding(Searches(2000), fleet, placement);
  CHECK(beyond.load == Approx(0.5).epsilon(1e-3));
  const Binding never = FindBinding(Searches(1e-6), fleet, placement);
  CHECK(never.load == Binding::kLoadMax);
  CHECK(never.what.empty());
}

}  // namespace
}  // namespace baton::plan
