#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/engine/engine_fixture.h"
#include "tests/support/await.h"
#include "tests/support/eventually.h"

namespace baton {

inline constexpr int32_t kHybridTokens = 24;  // of each text

inline CurveOptions SimulatedUs(double fixed) { return {.fixed_us = fixed}; }

inline SimulatedDeviceOptions SimulatedLlm(const char* name, Platform platform, MemorySpace space) {
  SimulatedDeviceOptions device{.name = name, .platform = platform, .space = space};
  device.latency[static_cast<size_t>(WorkClass::kPrefill)] = SimulatedUs(300);
  device.latency[static_cast<size_t>(WorkClass::kDecode)] = SimulatedUs(200);
  return device;
}

// A GPU that is preferred for prompts, an FPGA for decodes, and the CPU itself.
class Hybrid : public EngineFixture {
 public:
  static constexpr MemorySpace kGpu{.kind = MemorySpace::Kind::kCuda};
  static constexpr MemorySpace kFpga{.kind = MemorySpace::Kind::kFpga, .bank = 1};

  explicit Hybrid(double copy_us = 50, int64_t lease_ms = 30'000) {
    simulation.devices = {SimulatedLlm("gpu0", Platform::kGpu, kGpu),
                          SimulatedLlm("fpga0", Platform::kFpga, kFpga)};
    const auto path = [&](const char* name, MemorySpace from, MemorySpace to) {
      simulation.paths.push_back(
          {.name = name, .from = from, .to = to, .gb_per_s = 10, .latency_us = copy_us});
    };
    path("peer", kGpu, kFpga);
    path("up", kGpu, {});
    path("down", {}, kGpu);
    path("fpga-up", kFpga, {});
    path("fpga-down", {}, kFpga);
    options.transfer.lease_ms = lease_ms;
    options.cost_model.route = false;  // by the rules, whatever times a busy machine gives
    options.health.stall_ms = 60'000;  // on a busy machine nobody is fenced for it
    options.health.probe_ms = 1;
    options.health.error_batches_min = 100000;  // what is tested here fails often
    AddRandomModel({.context_tokens = 256});
  }

  // A device that hangs is to be given up soon.
  void FenceSoon() { options.health.stall_ms = 100; }

  static GenerateRequest Request(int variant) {
    std::mt19937 random(static_cast<uint32_t>(variant) + 5);
    std::vector<TokenId> prompt;
    for (int i = 0; i < 5 + 37 * (variant % 4); ++i) {
      prompt.push_back(260 + static_cast<TokenId>(random() % 30));
    }
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = kHybridTokens;
    request.ignore_eos = true;
    request.sampling.seed = 3;
    if (variant % 3 == 1) request.sampling.temperature = 1.2f;
    request.envelope.hints.fallback = Fallback::kAlternate;
    return request;
  }

  // What the CPU alone makes of it.
  const std::vector<TokenId>& Expected(int variant) {
    std::vector<TokenId>& expected = expected_[variant];
    if (!expected.empty()) return expected;
    GenerateRequest request = Request(variant);
    request.envelope.hints.fallback.reset();
    request.envelope.hints.platform = Platform::kCpu;
    const auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine->Submit(request, sink));
    REQUIRE_OK(sink->Wait().status);
    REQUIRE(sink->ids.size() == kHybridTokens);
    return expected = sink->ids;
  }

  void Recover() {
    for (const char* name : {"gpu0", "fpga0", "peer", "up", "down", "fpga-up", "fpga-down"}) {
      REQUIRE_OK(node->Inject(name, SimulatedFault::kRecover));
    }
  }

  double Blocks(const char* state) {
    double blocks = 0;
    for (const char* space : {"host", "cuda:0", "fpga:0/1"}) {
      blocks += metrics.Gauge(MetricId::kKvBlocks, {"random", space, state}).Value();
    }
    return blocks;
  }

  // No sequence, block, copy or slot is left.
  bool Clean() {
    Recover();
    return Eventually([&] {
      return engine->InFlight() == 0 &&
             metrics.Gauge(MetricId::kSequencesRunning, {"random"}).Value() == 0 &&
             metrics.Gauge(MetricId::kSequencesWaiting, {"random"}).Value() == 0 &&
             Blocks("used") == 0 && Blocks("reserved") == 0 && node->open_copies() == 0;
    });
  }

  double Recovered(const char* how) {
    return metrics.Counter(MetricId::kSequencesRecovered, {how}).Value();
  }

 private:
  std::map<int, std::vector<TokenId>> expected_;
};

}  // namespace baton
