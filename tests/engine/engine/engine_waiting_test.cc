// Texts that wait for a device that completes nothing go elsewhere before it is fenced; and of two
// devices as good, the one near the other stage's is taken.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/engine/engine/hybrid_fixture.h"

namespace baton {
namespace {

GenerateRequest WorstCase(Fallback fallback) {
  GenerateRequest request = Hybrid::Request(0);
  request.max_tokens = 240;  // four blocks in the worst case
  request.envelope.hints.fallback = fallback;
  return request;
}

TEST_CASE("what waits for the memory of a hung device goes where the fallback allows") {
  const auto fallback = GENERATE(Fallback::kAlternate, Fallback::kCpu, Fallback::kNone);
  CAPTURE(Name(fallback));
  Hybrid f;
  f.options.kv.memory_mb = 1;
  f.options.kv.type = "f32";  // 32 blocks of each memory
  f.options.schedule.admission = "worst_case";
  f.options.schedule.sequences_running_max = 16;
  f.options.health.suspect_ms = 1'000;
  f.Start();
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kSlow, 50));
  std::vector<std::shared_ptr<GenerateRecorder>> running;
  for (int i = 0; i < 8; ++i) running.push_back(f.Submit(WorstCase(Fallback::kAlternate)));
  for (const auto& sink : running) REQUIRE(Eventually([&] { return sink->chunks >= 2; }));
  const auto waiting = f.Submit(WorstCase(fallback));
  const auto waits = [&] {
    return f.metrics.Gauge(MetricId::kSequencesWaiting, {"random"}).Value() == 1;
  };
  REQUIRE(Eventually(waits));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kHang));
  if (fallback == Fallback::kNone) {
    // Nowhere else: it waits on, and is served when the device moves again.
    const auto suspected = [&] {
      return f.metrics.Counter(MetricId::kDeviceEvents, {"fpga", "fpga0", "suspected"}).Value() > 0;
    };
    REQUIRE(Eventually(suspected));
    CHECK(waits());
    f.Recover();
    REQUIRE_OK(waiting->Wait().status);
  } else {
    const auto outcome = waiting->Wait();  // while the device still hangs
    REQUIRE_OK(outcome.status);
    CHECK(waiting->ids.size() == 240);
    const Platform decoded = outcome.result.timings.stages.back().route.platform;
    CHECK(decoded != Platform::kFpga);
    if (fallback == Fallback::kCpu) CHECK(decoded == Platform::kCpu);
    // What comes now does not even wait.
    const auto later = f.Submit(Hybrid::Request(1))->Wait();
    REQUIRE_OK(later.status);
    CHECK(later.result.timings.stages.back().route.platform != Platform::kFpga);
    f.Recover();
  }
  for (const auto& sink : running) REQUIRE_OK(sink->Wait().status);
  CHECK(f.Clean());
}

TEST_CASE("of two FPGAs as good, the one on the GPU's package decodes") {
  const int near = GENERATE(0, 1);
  CAPTURE(near);
  Hybrid f;
  f.simulation.devices.push_back(SimulatedLlm(
      "fpga1", Platform::kFpga, {.kind = MemorySpace::Kind::kFpga, .device = 1, .bank = 1}));
  f.simulation.paths.push_back({.name = "peer1",
                                .from = Hybrid::kGpu,
                                .to = f.simulation.devices.back().space,
                                .gb_per_s = 10,
                                .latency_us = 50});
  const std::vector<PlacedDevice> devices = {
      {.platform = Platform::kCpu, .name = "cpu0"},
      {.platform = Platform::kGpu, .name = "gpu0", .numa_node = 1},
      {.platform = Platform::kFpga, .name = "fpga0", .numa_node = near == 0 ? 1 : 0},
      {.platform = Platform::kFpga, .name = "fpga1", .numa_node = near == 1 ? 1 : 0}};
  Topology topology;
  for (int node = 0; node < 2; ++node) {
    topology.nodes.push_back(
        {.number = node, .package = node, .cores = {CpuSet({2 * node}), CpuSet({2 * node + 1})}});
  }
  const auto plan = PlanPlacement(topology, {}, devices);
  REQUIRE_OK(plan);
  f.placement = *plan;
  f.Start();
  for (int i = 0; i < 3; ++i) {
    const auto sink = f.Submit(Hybrid::Request(2));
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    CHECK(sink->ids == f.Expected(2));
    CHECK(outcome.result.timings.stages.back().route.device == (near == 0 ? "fpga0" : "fpga1"));
  }
  ExplainRequest explain{.kind = ExplainRequest::Kind::kGenerate};
  const auto stages = f.engine->Explain(explain);
  REQUIRE_OK(stages);
  CHECK(stages->back().route.device == (near == 0 ? "fpga0" : "fpga1"));
  const std::vector<DeviceReport> reports = f.engine->Devices();
  CHECK(reports[1].numa_nodes == std::vector{1});
  CHECK(reports[1].cpus == "3");
}

}  // namespace
}  // namespace baton
