// Generations that prefill on one simulated device and decode on another: the text is the CPU's,
// whatever fails on the way, and nothing is left behind.
#include <catch2/catch.hpp>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/engine/hybrid_fixture.h"
#include "tests/support/await.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

// What fails and how, once a request is at a state.
struct Fault {
  const char* of = "";  // a device or a path
  SimulatedFault fault = SimulatedFault::kLose;
};

TEST_CASE("KV goes from the memory of one device to that of another, and the text is the CPU's") {
  Hybrid f;
  f.Start();
  for (int variant = 0; variant < 6; ++variant) {
    CAPTURE(variant);
    const auto sink = f.Submit(Hybrid::Request(variant));
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    CHECK(sink->ids == f.Expected(variant));
    const std::vector<Stage>& stages = outcome.result.timings.stages;
    REQUIRE(stages.size() == 3);
    CHECK(stages[0].route.platform == Platform::kGpu);
    CHECK(stages[0].route.emulated);
    CHECK(stages[1].route.reason == "path peer");
    CHECK(stages[2].route.platform == Platform::kFpga);
  }
  // The same again: its full blocks are where it decodes already.
  const double bytes = f.metrics.Counter(MetricId::kHandoffBytes, {"peer"}).Value();
  CHECK(bytes > 0);
  const auto again = f.Submit(Hybrid::Request(3));
  REQUIRE_OK(again->Wait().status);
  CHECK(again->ids == f.Expected(3));
  CHECK(f.metrics.Counter(MetricId::kHandoffBytes, {"peer"}).Value() - bytes < bytes / 4);
  CHECK(f.Clean());
}

// Waits until a request is at a state of its handoff.
bool Reach(Hybrid& f, const std::string& state, const GenerateRecorder& sink) {
  if (state == "posted") return Eventually([&] { return f.node->open_copies() == 1; });
  return Eventually([&] { return sink.chunks >= 3; });  // ready and released: it decodes
}

TEST_CASE("recompute: a text goes on elsewhere, none of its tokens twice, none wrong") {
  const auto fault =
      GENERATE(Fault{"gpu0", SimulatedFault::kLose}, Fault{"fpga0", SimulatedFault::kLose},
               Fault{"gpu0", SimulatedFault::kFail}, Fault{"fpga0", SimulatedFault::kFail},
               Fault{"fpga0", SimulatedFault::kHang}, Fault{"peer", SimulatedFault::kFail},
               Fault{"peer", SimulatedFault::kHang}, Fault{"peer", SimulatedFault::kLose});
  const std::string state = GENERATE("prepared", "posted", "ready");
  const int variant = GENERATE(2, 4);
  CAPTURE(fault.of, static_cast<int>(fault.fault), state, variant);
  Hybrid f(/*copy_us=*/state == "posted" ? 100'000 : 50, /*lease_ms=*/400);
  if (fault.fault == SimulatedFault::kHang) f.FenceSoon();
  f.Start();
  const auto expected = f.Expected(variant);
  const bool path = fault.of == std::string("peer");
  if (state == "prepared" && path) REQUIRE_OK(f.node->Inject(fault.of, fault.fault));
  const auto sink = f.Submit(Hybrid::Request(variant));
  if (state != "prepared") {
    REQUIRE(Reach(f, state, *sink));
    REQUIRE_OK(f.node->Inject(fault.of, fault.fault));
  } else if (!path) {
    REQUIRE(Eventually([&] { return sink->chunks >= 1; }));
    REQUIRE_OK(f.node->Inject(fault.of, fault.fault));
  }
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == expected);
  CHECK(sink->misplaced == 0);
  CHECK(f.Clean());
}

TEST_CASE("local: a text decodes where it was prefilled") {
  const auto fault =
      GENERATE(Fault{"peer", SimulatedFault::kFail}, Fault{"peer", SimulatedFault::kHang},
               Fault{"fpga0", SimulatedFault::kLose});
  CAPTURE(fault.of, static_cast<int>(fault.fault));
  Hybrid f(/*copy_us=*/100'000, /*lease_ms=*/400);
  f.options.transfer.on_failure = "local";
  f.Start();
  const auto expected = f.Expected(2);
  const auto sink = f.Submit(Hybrid::Request(2));
  REQUIRE(Reach(f, "posted", *sink));
  REQUIRE_OK(f.node->Inject(fault.of, fault.fault));
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == expected);
  const Route& decoded = outcome.result.timings.stages.back().route;
  CHECK(decoded.device == "gpu0");
  CHECK(decoded.fallback);
  CHECK(decoded.reason == "local: fpga0 failed, or the handoff to it");
  CHECK(f.Recovered("local") == 1);
  CHECK(f.Clean());
}

TEST_CASE("fail: a text ends with UNAVAILABLE, and a request's own word counts") {
  const bool own_word = GENERATE(false, true);
  CAPTURE(own_word);
  Hybrid f(/*copy_us=*/100'000, /*lease_ms=*/400);
  f.options.transfer.on_failure = "fail";
  f.Start();
  const auto expected = f.Expected(2);
  GenerateRequest request = Hybrid::Request(2);
  if (own_word) request.envelope.hints.on_handoff_failure = HandoffFailure::kRecompute;
  const auto sink = f.Submit(request);
  REQUIRE(Reach(f, "posted", *sink));
  REQUIRE_OK(f.node->Inject("peer", SimulatedFault::kFail));
  const auto outcome = sink->Wait();
  if (own_word) {
    REQUIRE_OK(outcome.status);
    CHECK(sink->ids == expected);
  } else {
    REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "the handoff failed");
  }
  CHECK(f.Recovered("recompute") == (own_word ? 1 : 0));
  CHECK(f.Clean());
}

TEST_CASE("a path that takes no copy is passed over for the next") {
  Hybrid f;
  f.options.transfer.on_failure = "fail";
  f.Start();
  const auto expected = f.Expected(2);
  REQUIRE_OK(f.node->Inject("peer", SimulatedFault::kFail));
  const auto sink = f.Submit(Hybrid::Request(2));
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == expected);
  CHECK(f.metrics.Counter(MetricId::kHandoffs, {"peer"}).Value() == 0);
  CHECK(f.Clean());
}

TEST_CASE("a cancelled or late request leaves nothing, at any state") {
  const std::string state = GENERATE("posted", "ready");
  const bool cancel = GENERATE(true, false);
  CAPTURE(state, cancel);
  Hybrid f(state == "posted" ? 5'000'000 : 50);
  f.Start();
  GenerateRequest request = Hybrid::Request(2);
  if (state == "ready") request.max_tokens = 150;
  if (!cancel) request.envelope.deadline_us = SystemClock().NowUs() + 3'000'000;
  const auto sink = f.Submit(request);
  REQUIRE(Reach(f, state, *sink));
  if (!cancel && state == "ready") REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kSlow, 500));
  if (cancel) f.engine->Cancel(f.last);
  if (cancel) f.engine->Cancel(f.last);
  const auto outcome = sink->Wait();
  CHECK(outcome.status.code() ==
        (cancel ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded));
  CHECK(f.Clean());
}

TEST_CASE("more texts than blocks for them: all end as they would alone") {
  Hybrid f;
  f.options.schedule.sequences_running_max = 4;
  f.options.kv.memory_mb = 1;
  f.Start();
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  for (int i = 0; i < 24; ++i) {
    GenerateRequest request = Hybrid::Request(i % 6);
    request.envelope.priority = i % 3;
    sinks.push_back(f.Submit(request));
  }
  for (int i = 0; i < 24; ++i) {
    REQUIRE_OK(sinks[static_cast<size_t>(i)]->Wait().status);
    CHECK(sinks[static_cast<size_t>(i)]->ids == f.Expected(i % 6));
  }
  CHECK(f.Clean());
}

TEST_CASE("a copy that hangs is given up after one lease") {
  Hybrid f(/*copy_us=*/50, /*lease_ms=*/3000);
  f.Start();
  const auto expected = f.Expected(2);
  REQUIRE_OK(f.node->Inject("peer", SimulatedFault::kHang));
  const TimeUs begin_us = SystemClock().NowUs();
  const auto sink = f.Submit(Hybrid::Request(2));
  REQUIRE_OK(sink->Wait().status);
  const TimeUs took_us = SystemClock().NowUs() - begin_us;
  CHECK(took_us >= 3'000'000);
  CHECK(took_us < 6'000'000);
  CHECK(sink->ids == expected);
  CHECK(f.Clean());
}

TEST_CASE("recompute goes where the fallback allows") {
  const auto fallback = GENERATE(Fallback::kNone, Fallback::kCpu, Fallback::kAlternate);
  const bool own_word = GENERATE(true, false);
  if (fallback == Fallback::kNone && !own_word) return;  // leaves searches nowhere to go
  CAPTURE(Name(fallback), own_word);
  Hybrid f(/*copy_us=*/100'000);
  if (!own_word) f.options.route.fallback = Name(fallback);
  f.Start();
  const auto expected = f.Expected(2);
  GenerateRequest request = Hybrid::Request(2);
  request.envelope.hints.fallback.reset();
  if (own_word) request.envelope.hints.fallback = fallback;
  const auto sink = f.Submit(request);
  REQUIRE(Reach(f, "posted", *sink));
  REQUIRE_OK(f.node->Inject("peer", SimulatedFault::kFail));
  const auto outcome = sink->Wait();
  if (fallback == Fallback::kNone) {
    REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "the handoff failed");
    CHECK(f.Recovered("recompute") == 0);
  } else {
    REQUIRE_OK(outcome.status);
    CHECK(sink->ids == expected);
    CHECK(f.Recovered("recompute") == 1);
    const Platform decoded = outcome.result.timings.stages.back().route.platform;
    CHECK(decoded != Platform::kFpga);
    if (fallback == Fallback::kCpu) CHECK(decoded == Platform::kCpu);
  }
  CHECK(f.Clean());
}

TEST_CASE("where no blocks are free for a handoff each policy does as it says") {
  const auto policy =
      GENERATE(HandoffFailure::kFail, HandoffFailure::kRecompute, HandoffFailure::kLocal);
  CAPTURE(Name(policy));
  Hybrid f(/*copy_us=*/50, /*lease_ms=*/200);
  f.options.kv.memory_mb = 1;
  f.options.kv.type = "f32";  // 32 blocks of each memory
  f.options.schedule.sequences_running_max = 16;
  f.Start();
  GenerateRequest late = Hybrid::Request(3);
  std::get<std::vector<TokenId>>(late.prompt).resize(200, 270);
  late.envelope.hints.on_handoff_failure = policy;
  // Short prompts that grow to four blocks each, of which two are expected at first.
  std::vector<std::shared_ptr<GenerateRecorder>> growing;
  for (int i = 0; i < 8; ++i) {
    GenerateRequest request = Hybrid::Request(4 * i);
    request.max_tokens = 240;
    request.envelope.priority = 1;
    growing.push_back(f.Submit(request));
  }
  for (const auto& sink : growing) REQUIRE(Eventually([&] { return sink->chunks >= 2; }));
  REQUIRE_OK(f.node->Inject("gpu0", SimulatedFault::kSlow, 8000));  // it prefills for 2.4 s
  const auto sink = f.Submit(late);
  const auto used = [&] {
    return f.metrics.Gauge(MetricId::kKvBlocks, {"random", "fpga:0/1", "used"}).Value();
  };
  REQUIRE(Eventually([&] { return used() >= 24; }));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kSlow, 50));
  REQUIRE(Eventually([&] { return used() >= 30; }));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kHang));
  const auto outcome = sink->Wait();
  if (policy == HandoffFailure::kFail) {
    REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "no KV blocks are free in fpga");
  } else {
    REQUIRE_OK(outcome.status);
    CHECK(f.Recovered(Name(policy).data()) == 1);
  }
  f.Recover();
  GenerateRequest alone = late;
  alone.envelope.hints.fallback.reset();
  alone.envelope.hints.platform = Platform::kCpu;
  const auto wanted = f.Submit(alone);
  REQUIRE_OK(wanted->Wait().status);
  if (outcome.status.ok()) CHECK(sink->ids == wanted->ids);
  for (const auto& other : growing) REQUIRE_OK(other->Wait().status);
  CHECK(f.Clean());
}

// Faults at random moments while texts are generated; answers the number of those injected. With an
// offload tier there is so little memory that texts are brought back from it.
int Storm(int faults_wanted, uint32_t seed, bool offload = false) {
  Hybrid f(/*copy_us=*/300, /*lease_ms=*/100);
  f.FenceSoon();
  f.options.schedule.sequences_running_max = offload ? 3 : 8;
  f.options.kv.offload_memory_mb = offload ? 1 : 0;
  f.options.kv.offload_reload = "always";
  f.options.transfer.ahead_kb_min = 0;  // and parts of prompts go ahead
  f.options.schedule.prefill_chunk_tokens_max = 40;
  f.Start();
  for (int variant = 0; variant < 12; ++variant) f.Expected(variant);
  std::mt19937 random(seed);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  constexpr const char* kNames[] = {"gpu0", "fpga0", "peer", "up", "fpga-down", "down", "fpga-up"};
  constexpr SimulatedFault kFaults[] = {SimulatedFault::kFail, SimulatedFault::kHang,
                                        SimulatedFault::kSlow, SimulatedFault::kLose};
  struct Live {
    std::shared_ptr<GenerateRecorder> sink;
    int variant;
    bool cancelled;
  };
  std::vector<Live> live;
  int faults = 0;
  int good = 0;
  while (faults < faults_wanted) {
    for (int i = 0; i < 4; ++i) {
      const int variant = below(12);
      GenerateRequest request = Hybrid::Request(variant);
      request.envelope.hints.on_handoff_failure = static_cast<HandoffFailure>(below(3));
      if (below(8) == 0) request.envelope.deadline_us = SystemClock().NowUs() + below(20'000) + 1;
      const auto sink = std::make_shared<GenerateRecorder>();
      const auto id = f.engine->Submit(request, sink);
      if (absl::IsDeadlineExceeded(id.status())) continue;  // before it was there
      REQUIRE_OK(id);
      const bool cancelled = below(8) == 0;
      live.push_back({sink, variant, cancelled});
      if (cancelled) f.engine->Cancel(*id);
    }
    for (int i = 0; i < 12; ++i) {
      const char* name = kNames[below(7)];
      REQUIRE_OK(f.node->Inject(name, kFaults[below(4)], 3));
      ++faults;
      std::this_thread::sleep_for(std::chrono::microseconds(below(400)));
      if (below(3) > 0) REQUIRE_OK(f.node->Inject(name, SimulatedFault::kRecover));
    }
    f.Recover();
    for (const Live& request : live) {
      const auto outcome = request.sink->Wait();
      const auto& ids = request.sink->ids;
      const auto& expected = f.Expected(request.variant);
      REQUIRE(ids.size() <= expected.size());
      REQUIRE(std::equal(ids.begin(), ids.end(), expected.begin()));
      if (outcome.status.ok()) {
        REQUIRE(ids.size() == expected.size());
        ++good;
      }
      REQUIRE(request.sink->misplaced == 0);
    }
    live.clear();
  }
  CHECK(f.Clean());
  const auto blocks = [&](const char* event) {
    return f.metrics.Counter(MetricId::kKvOffloadEvents, {event}).Value();
  };
  std::printf(
      "engine_hybrid: seed %u, %d faults, %d texts whole, %.0f computed again, %.0f stayed; blocks "
      "%.0f offloaded, %.0f reloaded, %.0f failed\n",
      seed, faults, good, f.Recovered("recompute"), f.Recovered("local"), blocks("stored"),
      blocks("reloaded"), blocks("failed"));
  CHECK(good > 0);
  if (offload && faults >= 10'000) CHECK(blocks("reloaded") > 0);
  return faults;
}

TEST_CASE("faults at random moments: no wrong token and nothing left") {
  CHECK(Storm(120, 20261122) >= 120);
  CHECK(Storm(120, 20261123, /*offload=*/true) >= 120);
}

TEST_CASE("ten thousand faults at random moments", "[.slow]") {
  const uint32_t seed = std::random_device()();
  std::printf("engine_hybrid: seed %u\n", seed);
  CHECK(Storm(10'000, seed) >= 10'000);
}

TEST_CASE("ten thousand faults while texts are brought back from the tier", "[.slow]") {
  const uint32_t seed = std::random_device()();
  std::printf("engine_hybrid: seed %u\n", seed);
  CHECK(Storm(10'000, seed, /*offload=*/true) >= 10'000);
}

}  // namespace
}  // namespace baton
