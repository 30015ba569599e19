// Texts whose KV blocks have made room for others: they come back from the offload tier, and what
// is generated is what it would be had they never gone, whatever fails on the way.
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/engine/hybrid_fixture.h"

namespace baton {
namespace {

constexpr int32_t kPromptTokens = 200;  // three full blocks of 64

GenerateRequest Asked(int text) {
  std::mt19937 random(static_cast<uint32_t>(text) * 11 + 3);
  std::vector<TokenId> prompt;
  for (int i = 0; i < kPromptTokens; ++i) {
    prompt.push_back(260 + static_cast<TokenId>(random() % 30));
  }
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = kHybridTokens;
  request.ignore_eos = true;
  request.sampling.seed = 5;
  request.envelope.hints.fallback = Fallback::kAlternate;
  return request;
}

// A GPU, an FPGA and the CPU, with KV memory for four texts each.
class Offloading : public Hybrid {
 public:
  explicit Offloading(double copy_us = 50, int64_t lease_ms = 30'000) : Hybrid(copy_us, lease_ms) {
    options.schedule.sequences_running_max = 4;  // 16 blocks of each memory
    options.kv.offload_memory_mb = 2;
    options.kv.offload_reload = "always";  // whatever takes longer on this machine
  }

  struct Answer {
    std::vector<TokenId> ids;
    int32_t cached = 0;
    int64_t computed = 0;  // tokens of the prompt
    std::vector<std::string> stages;
    std::string reload_passed_over = {};
  };
  Answer Ask(int text, std::optional<Platform> platform = {}) {
    GenerateRequest request = Asked(text);
    if (platform) {
      request.envelope.hints.platform = platform;
      request.envelope.hints.fallback.reset();
    }
    const double before = Count(MetricId::kPromptTokens);
    const auto sink = Submit(request);
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    CHECK(sink->misplaced == 0);
    Answer answer{.ids = sink->ids,
                  .cached = outcome.result.cached_prompt_tokens,
                  .computed = static_cast<int64_t>(Count(MetricId::kPromptTokens) - before)};
    for (const Stage& stage : outcome.result.timings.stages) {
      answer.stages.push_back(stage.name);
      for (const PassedOver& other : stage.route.passed_over) {
        if (other.device == "kv offload") answer.reload_passed_over = other.reason;
      }
    }
    return answer;
  }

  double Count(MetricId id) { return metrics.Counter(id).Value(); }
  double Events(const char* event) {
    return metrics.Counter(MetricId::kKvOffloadEvents, {event}).Value();
  }
  bool Stored(double blocks) {
    return Eventually([&] { return Events("stored") >= blocks; });
  }
  // Others take the memory of all that was asked so far.
  void Flood(int from, std::optional<Platform> platform = {}) {
    for (int i = 0; i < 6; ++i) Ask(from + i, platform);
  }
};

TEST_CASE("an evicted text comes back without being computed") {
  const std::string type = GENERATE("f32", "f16", "int8");
  const bool offload = GENERATE(true, false);
  CAPTURE(type, offload);
  Offloading f;
  f.options.kv.type = type;
  if (!offload) f.options.kv.offload_memory_mb = 0;
  f.Start();
  const auto first = f.Ask(0, Platform::kCpu);
  CHECK(first.computed == kPromptTokens);
  f.Flood(1, Platform::kCpu);
  const auto again = f.Ask(0, Platform::kCpu);
  CHECK(again.ids == first.ids);
  if (!offload) {
    CHECK(again.cached == 0);
    CHECK(again.computed == kPromptTokens);
    CHECK(f.metrics.Counter(MetricId::kKvOffloadEvents, {"stored"}).Value() == 0);
    return;
  }
  CHECK(again.cached == 192);
  CHECK(again.computed == 8);
  CHECK(f.Count(MetricId::kKvReloadedTokens) == 192);
  CHECK(f.Events("reloaded") == 3);
  CHECK(f.metrics.Counter(MetricId::kKvOffloadLookups, {"hit"}).Value() == 1);
  CHECK(f.metrics.Counter(MetricId::kKvOffloadBytes, {"back"}).Value() > 0);
  CHECK(again.stages == std::vector<std::string>{"reload", "prefill", "handoff", "decode"});
  const ModelReport report = f.engine->ListModels().front();
  CHECK(report.kv_offload_space == "host");
  CHECK(report.kv_offload_blocks_reloaded == 3);
  CHECK(report.kv_offload_blocks_used >= 3);
  CHECK(report.kv_offload_blocks_used <= report.kv_offload_blocks);
  CHECK(f.Clean());
}

TEST_CASE("a text that is sooner computed than brought back is computed") {
  const std::string reload = GENERATE("auto", "always");
  CAPTURE(reload);
  Offloading f;
  f.options.kv.offload_reload = reload;
  f.options.kv.offload_memory_mb = 16;
  // Back to the GPU a copy takes 0.3 s; it computes the text in 20 ms, or what a busy machine
  // makes of that.
  f.options.cost_model.interval_max = 100;
  f.simulation.devices.front().latency[static_cast<size_t>(WorkClass::kPrefill)] =
      SimulatedUs(20'000);
  for (SimulatedPathOptions& path : f.simulation.paths) {
    if (path.name == "down") path.latency_us = 300'000;
  }
  f.Start();
  const auto results = [&](const char* result) {
    return f.metrics.Counter(MetricId::kKvOffloadLookups, {result}).Value();
  };
  constexpr int kTexts = 40;  // more than the cost model must have seen
  std::vector<std::vector<TokenId>> first;
  for (int i = 0; i < kTexts; ++i) {
    first.push_back(f.Ask(i, Platform::kGpu).ids);
    REQUIRE(f.Stored(3 * (i + 1)));
  }
  // What copies take is not known: the first ones come back.
  for (int i = 0; i < PathTable::kSureFrom; ++i) {
    const auto again = f.Ask(i, Platform::kGpu);
    CHECK(again.ids == first[static_cast<size_t>(i)]);
    CHECK(again.computed == 8);
  }
  CHECK(results("slower") == 0);
  // Then it is.
  for (int i = PathTable::kSureFrom; i < 6; ++i) {
    const auto again = f.Ask(i, Platform::kGpu);
    CHECK(again.ids == first[static_cast<size_t>(i)]);
    CHECK(again.computed == (reload == "auto" ? kPromptTokens : 8));
  }
  CHECK(results("slower") == (reload == "auto" ? 3 : 0));
  // The answer's route says so, and so would Explain.
  const auto passed_over = f.Ask(6, Platform::kGpu).reload_passed_over;
  ExplainRequest explain{.kind = ExplainRequest::Kind::kGenerate, .items = kPromptTokens};
  explain.envelope.hints.platform = Platform::kGpu;
  const auto explained = f.engine->Explain(explain);
  REQUIRE_OK(explained);
  REQUIRE(explained->size() == 3);
  const ExplainedStage& stage = explained->front();
  CHECK(stage.name == "reload");
  CHECK(stage.route.rule == "reload");
  REQUIRE(stage.candidates.size() == 2);
  REQUIRE(stage.route.passed_over.size() == 1);
  CHECK(stage.candidates[0].device == "kv offload in host");
  CHECK(stage.candidates[0].predicted_us > 200'000);
  CHECK(stage.candidates[1].device == "gpu0");
  if (reload == "auto") {
    CHECK_THAT(passed_over, Catch::Contains("bringing 192 tokens back takes "));
    CHECK(stage.route.device == "gpu0");
    CHECK_THAT(stage.route.reason, Catch::Contains("computed where the tier has it"));
    CHECK(stage.route.passed_over[0].device == "kv offload in host");
    CHECK(stage.candidates[1].predicted_us < stage.candidates[0].predicted_us);
  } else {
    CHECK(passed_over.empty());
    CHECK(stage.route.device == "kv offload in host");
    CHECK_FALSE(stage.candidates[1].eligible);
    CHECK(stage.route.passed_over[0].reason == "kv.offload_reload is always");
  }
  explain.items = 64;  // no whole block before its last token
  CHECK(f.engine->Explain(explain)->front().name == "prefill");
  CHECK(f.Events("reloaded") == (reload == "auto" ? 9 : 21));
  CHECK(f.Clean());
}

TEST_CASE("texts come back to each memory, whichever computed them") {
  Offloading f;
  f.Start();
  const auto first = f.Ask(0);
  CHECK(first.stages == std::vector<std::string>{"prefill", "handoff", "decode"});
  f.Flood(1);
  const auto again = f.Ask(0);
  CHECK(again.ids == first.ids);
  CHECK(again.cached == 192);
  CHECK(again.computed == 8);
  CHECK(again.stages == std::vector<std::string>{"reload", "prefill", "handoff", "decode"});
  // The CPU has seen none of it, and finds what the GPU computed.
  const auto on_cpu = f.Ask(0, Platform::kCpu);
  CHECK(on_cpu.ids == first.ids);
  CHECK(on_cpu.cached == 192);
  CHECK(f.Clean());
}

TEST_CASE("tenants do not find one another's texts in the tier") {
  Offloading f;
  f.Start();
  f.Ask(0, Platform::kCpu);
  f.Flood(1, Platform::kCpu);
  GenerateRequest request = Asked(0);
  request.envelope.tenant = "other";
  request.envelope.hints.platform = Platform::kCpu;
  const auto sink = f.Submit(request);
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(outcome.result.cached_prompt_tokens == 0);
}

TEST_CASE("a full tier forgets what was unused for longest") {
  Offloading f;
  f.options.kv.offload_memory_mb = 1;  // 64 blocks, three of each text
  f.Start();
  const auto first = f.Ask(0, Platform::kCpu);
  for (int from = 1; from < 31; from += 6) f.Flood(from, Platform::kCpu);
  CHECK(f.Events("evicted") > 0);
  const auto again = f.Ask(0, Platform::kCpu);
  CHECK(again.cached == 0);
  CHECK(again.ids == first.ids);
  CHECK(f.Ask(29, Platform::kCpu).cached == 192);
  CHECK(f.Clean());
}

TEST_CASE("where the copy back fails or hangs the text is computed") {
  const auto fault = GENERATE(SimulatedFault::kFail, SimulatedFault::kHang, SimulatedFault::kLose);
  CAPTURE(static_cast<int>(fault));
  Offloading f(/*copy_us=*/50, /*lease_ms=*/200);
  f.Start();
  const auto first = f.Ask(0);
  f.Flood(1);
  REQUIRE_OK(f.node->Inject("down", fault));
  const auto again = f.Ask(0);
  CHECK(again.ids == first.ids);
  CHECK(again.cached == 0);
  CHECK(again.computed == kPromptTokens);
  CHECK(f.Events("failed") >= 3);
  CHECK(f.Events("reloaded") == 0);
  CHECK(again.stages.front() == "reload");
  CHECK(f.Clean());
}

TEST_CASE("copies out that fail or hang lose the copies and nothing else") {
  const auto fault = GENERATE(SimulatedFault::kFail, SimulatedFault::kHang);
  CAPTURE(static_cast<int>(fault));
  Offloading f(/*copy_us=*/50, /*lease_ms=*/100);
  f.Start();
  REQUIRE_OK(f.node->Inject("up", fault));
  REQUIRE_OK(f.node->Inject("fpga-up", fault));
  const auto first = f.Ask(0);
  f.Flood(1);  // takes memory whose copies hang
  const auto again = f.Ask(0);
  CHECK(again.ids == first.ids);
  CHECK(again.cached == 0);
  CHECK(f.Events("stored") == 0);
  CHECK(Eventually([&] { return f.Events("failed") + f.Events("dropped") >= 3; }));
  CHECK(f.Clean());
}

TEST_CASE("a request that ends while its text comes back leaves nothing") {
  const bool cancel = GENERATE(true, false);
  CAPTURE(cancel);
  Offloading f;
  for (SimulatedPathOptions& path : f.simulation.paths) {
    if (path.name == "down") path.latency_us = 5'000'000;
  }
  f.Start();
  f.Ask(0);
  f.Flood(1);
  REQUIRE(f.Stored(21));
  REQUIRE(Eventually([&] { return f.node->open_copies() == 0; }));
  GenerateRequest request = Asked(0);
  if (!cancel) request.envelope.deadline_us = SystemClock().NowUs() + 100'000;
  const auto sink = f.Submit(request);
  REQUIRE(Eventually([&] { return f.node->open_copies() == 1; }));
  // The loop goes on with others meanwhile.
  CHECK(f.Ask(50, Platform::kCpu).computed == kPromptTokens);
  if (cancel) f.engine->Cancel(f.last = RequestId(f.last.value() - 1));
  CHECK(sink->Wait().status.code() ==
        (cancel ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded));
  CHECK(f.Clean());
  CHECK(f.Events("reloaded") == 0);
}

TEST_CASE("a device that loses its memory takes nothing of it to the tier") {
  Offloading f(/*copy_us=*/50, /*lease_ms=*/100);
  for (SimulatedPathOptions& path : f.simulation.paths) {
    if (path.name == "up" || path.name == "fpga-up") path.latency_us = 300'000;
  }
  f.Start();
  const auto first = f.Ask(0);
  REQUIRE_OK(f.node->Inject("gpu0", SimulatedFault::kLose));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kLose));
  f.Recover();
  const auto again = f.Ask(0);
  CHECK(again.ids == first.ids);
  CHECK(f.Clean());
  // Their copies ended with them; what is there was computed again.
  CHECK(f.Events("dropped") + f.Events("failed") >= 3);
  f.Flood(1, Platform::kCpu);
  CHECK(f.Ask(0, Platform::kCpu).ids == first.ids);
}

TEST_CASE("a daemon that ends in the middle of copies ends") {
  Offloading f;
  f.Start();
  REQUIRE_OK(f.node->Inject("up", SimulatedFault::kHang));
  REQUIRE_OK(f.node->Inject("down", SimulatedFault::kHang));
  f.Ask(0, Platform::kCpu);
  f.Ask(1);
  f.Flood(2, Platform::kCpu);
  const auto sink = f.Submit(Asked(0));
  CHECK(Eventually([&] { return f.node->open_copies() > 0; }));
  f.Stop();
  CHECK(!sink->Wait().status.ok());
}

TEST_CASE("an offload tier that cannot be is refused by its option's name") {
  Offloading f;
  const auto refused = [&](const char* why) {
    REQUIRE_STATUS(f.TryStart(), absl::StatusCode::kInvalidArgument, why);
  };
  SECTION("no such node") {
    f.options.kv.offload_numa_node = 999;
    refused("kv.offload_numa_node: NUMA node 999 has no memory here");
  }
  SECTION("nothing to find blocks by") {
    f.options.kv.prefix_cache = false;
    refused("kv.prefix_cache is false");
  }
}

TEST_CASE("the tier's memory can be on a node of its own") {
  Offloading f;
  f.options.kv.offload_numa_node = 0;
  f.Start();
  const auto first = f.Ask(0);
  f.Flood(1);
  const auto again = f.Ask(0);
  CHECK(again.ids == first.ids);
  CHECK(again.cached == 192);
  CHECK(f.engine->ListModels().front().kv_offload_space == "cxl:0");
}

}  // namespace
}  // namespace baton
