// The planner's formulas against the same workloads played event by event. What is approximated,
// and by how much it may be off, is stated with each case.
#include "tests/engine/plan/simulation.h"

#include <catch2/catch.hpp>
#include <numeric>

#include "engine/plan/plan_file.h"
#include "tests/support/status_matchers.h"

namespace baton::plan {
namespace {

struct Case {
  const char* name;
  double until_ms;
  double mean_bound;      // |planned / simulated - 1| of each request's mean latency
  double quantile_bound;  // of the quantile of its SLA
  double busy_bound;      // of each device's busy share
  const char* workload;
  const char* fleet;
};

const Case kCases[] = {
    {"one queue, half busy", 400'000, 0.03, 0.12, 0.03,
     "requests: [{name: a, per_second: 500, stages: [{class: embed}]}]",
     "devices: [{name: d, platform: cpu, evidence: stated, idle_w: 1, max_w: 2,"
     " curves: [{class: embed, variation: 0.5, points: [{items: 1, ms: 1}]}]}]"},
    {"one queue, nine tenths busy", 2'000'000, 0.08, 0.12, 0.03,
     "requests: [{name: a, per_second: 900, stages: [{class: embed}]}]",
     "devices: [{name: d, platform: cpu, evidence: stated, idle_w: 1, max_w: 2,"
     " curves: [{class: embed, variation: 1, points: [{items: 1, ms: 1}]}]}]"},
    {"five lanes, four fifths busy", 400'000, 0.05, 0.15, 0.03,
     "requests: [{name: a, per_second: 8000, stages: [{class: embed}]}]",
     "devices: [{name: d, platform: fpga, evidence: modelled, lanes: 5, idle_w: 1, max_w: 2,"
     " curves: [{class: embed, points: [{items: 1, ms: 0.5}]}]}]"},
    {"batches by time or size", 300'000, 0.05, 0.15, 0.03,
     "requests: [{name: a, per_second: 3000, stages: [{class: embed}]}]\n"
     "batching: {embed: {requests_max: 16, wait_ms: 4}}",
     "devices: [{name: d, platform: gpu, evidence: stated, idle_w: 1, max_w: 2,"
     " curves: [{class: embed, points: [{items: 1, ms: 2}, {items: 16, ms: 3.5}]}]}]"},
    {"two classes of very different times", 2'000'000, 0.05, 0.3, 0.03,
     "requests:\n"
     "  - {name: a, per_second: 300, stages: [{class: embed}]}\n"
     "  - {name: b, per_second: 10, stages: [{class: rerank}, {class: embed}]}\n",
     "devices: [{name: d, platform: cpu, evidence: stated, idle_w: 1, max_w: 2, curves: ["
     "{class: embed, points: [{items: 1, ms: 1}]}, {class: rerank, points: [{items: 1, ms: "
     "20}]}]}]"},
    {"decodes that share steps", 2'000'000, 0.05, 0.25, 0.03,
     "requests: [{name: a, per_second: 20, stages: [{class: decode, items: 100}]}]",
     "devices: [{name: d, platform: gpu, evidence: stated, idle_w: 1, max_w: 2,"
     " curves: [{class: decode, points: [{items: 1, ms: 1}, {items: 8, ms: 3}]}]}]"},
    {"prompts beside decodes", 3'000'000, 0.12, 0.25, 0.1,
     "requests:\n"
     "  - {name: a, per_second: 10, stages: [{class: prefill}, {class: decode, items: 60}]}\n",
     "devices: [{name: d, platform: gpu, evidence: stated, idle_w: 1, max_w: 2, curves: ["
     "{class: prefill, variation: 0.2, points: [{items: 1, ms: 15}]},"
     "{class: decode, points: [{items: 1, ms: 0.9}, {items: 16, ms: 2}]}]}]"},
    {"questions over two devices", 3'000'000, 0.08, 0.25, 0.03,
     "requests:\n"
     "  - {name: ask, per_second: 20, stages: [{class: search_single}, {class: prefill},"
     "     {class: decode, items: 50, input_mb: 24}]}\n"
     "  - {name: search, per_second: 500, stages: [{class: search_single}]}\n"
     "placement: {decode: f, prefill: g, search_single: f}\n",
     "devices:\n"
     "  - {name: g, platform: gpu, evidence: stated, idle_w: 1, max_w: 2, link_gb_per_s: 25,"
     "     curves: [{class: prefill, variation: 0.1, points: [{items: 1, ms: 15}]}]}\n"
     "  - {name: f, platform: fpga, evidence: modelled, lanes: 5, idle_w: 1, max_w: 2,"
     "     link_gb_per_s: 12, curves: [{class: search_single, points: [{items: 1, ms: 0.5}]},"
     "     {class: decode, points: [{items: 1, ms: 0.5}, {items: 8, ms: 0.9}]}]}\n"},
};

TEST_CASE("the planner's latencies are those of a simulation") {
  for (const Case& c : kCases) {
    INFO(c.name);
    const auto workload = ParseWorkload(c.workload, "workload");
    REQUIRE_OK(workload.status());
    const auto fleet = ParseFleet(c.fleet, "devices");
    REQUIRE_OK(fleet.status());
    const auto plan = BestPlan(*workload, *fleet, std::vector<bool>(fleet->devices.size(), true));
    REQUIRE_OK(plan.status());
    REQUIRE(plan->stable);
    constexpr uint32_t kSeed = 1;
    INFO("seed " << kSeed);
    Simulation simulation(*workload, *fleet, plan->placement, kSeed);
    auto latencies = simulation.Run(c.until_ms);
    for (size_t i = 0; i < latencies.size(); ++i) {
      std::vector<double>& of = latencies[i];
      INFO("request " << workload->requests[i].name << " of " << of.size());
      const double mean = std::accumulate(of.begin(), of.end(), 0.0) / std::ssize(of);
      const auto rank = static_cast<ptrdiff_t>(workload->requests[i].sla_quantile *
                                               static_cast<double>(of.size()));
      std::nth_element(of.begin(), of.begin() + rank, of.end());
      CHECK(plan->requests[i].latency_ms == Approx(mean).epsilon(c.mean_bound));
      CHECK(plan->requests[i].quantile_ms ==
            Approx(of[static_cast<size_t>(rank)]).epsilon(c.quantile_bound));
    }
    for (size_t i = 0; i < fleet->devices.size(); ++i) {
      INFO("device " << fleet->devices[i].name);
      CHECK(plan->devices[i].busy == Approx(simulation.Busy(i)).epsilon(c.busy_bound));
    }
  }
}

}  // namespace
}  // namespace baton::plan
