// Blocks of long prompts go to where the text will decode while the rest is computed: the text is
// the one that comes without, whatever fails on the way.
#include <catch2/catch.hpp>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "tests/engine/engine/hybrid_fixture.h"

namespace baton {
namespace {

constexpr int32_t kChunkTokens = 64;  // a block of the test's model
constexpr int kGroups = 3;            // whole blocks of the prompt before its last chunk

GenerateRequest LongRequest(uint32_t seed = 1) {
  std::mt19937 random(seed);
  std::vector<TokenId> prompt;
  for (int i = 0; i < kGroups * kChunkTokens + 20; ++i) {
    prompt.push_back(260 + static_cast<TokenId>(random() % 30));
  }
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = kHybridTokens;
  request.ignore_eos = true;
  request.sampling.seed = 3;
  request.envelope.hints.fallback = Fallback::kAlternate;
  return request;
}

class Ahead : public Hybrid {
 public:
  explicit Ahead(double copy_us = 50, int64_t lease_ms = 30'000) : Hybrid(copy_us, lease_ms) {
    options.transfer.ahead_kb_min = 0;
    options.schedule.prefill_chunk_tokens_max = kChunkTokens;
    options.schedule.plans_in_flight_max = 1;
  }

  // What the CPU alone makes of it.
  std::vector<TokenId> ByCpu(GenerateRequest request) {
    request.envelope.hints.fallback.reset();
    request.envelope.hints.platform = Platform::kCpu;
    const auto sink = Submit(request);
    REQUIRE_OK(sink->Wait().status);
    REQUIRE(sink->ids.size() == kHybridTokens);
    return sink->ids;
  }

  int64_t Copies(const std::string& path) {
    int64_t copies = 0;
    for (const PathReport& report : engine->TransferPaths()) {
      if (report.path == path) copies += report.copies;
    }
    return copies;
  }
  double HandoffBytes() { return metrics.Counter(MetricId::kHandoffBytes, {"peer"}).Value(); }
};

TEST_CASE("a prompt's blocks are copied while the rest of it is computed") {
  const bool ahead = GENERATE(true, false);
  CAPTURE(ahead);
  Ahead f;
  if (!ahead) f.options.transfer.ahead_kb_min = -1;
  f.Start();
  const auto expected = f.ByCpu(LongRequest());
  const auto sink = f.Submit(LongRequest());
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids == expected);
  // Chunks that end during a copy go together, and the last one's first layers may go before its
  // others are done.
  const int64_t copies = f.Copies("peer");
  CHECK(copies >= (ahead ? 2 : 1));
  CHECK(copies <= (ahead ? kGroups + 2 : 1));
  // One handoff either way, of all bytes.
  CHECK(f.metrics.Counter(MetricId::kHandoffs, {"peer"}).Value() == 1);
  const std::vector<Stage>& stages = outcome.result.timings.stages;
  REQUIRE(stages.size() == 3);
  CHECK(stages[1].route.reason == "path peer");
  CHECK(static_cast<double>(stages[1].items) == f.HandoffBytes());
  CHECK(f.Clean());
}

TEST_CASE("a copy ahead that fails is made again with the rest") {
  const int group = GENERATE(1, 2, 3, 4);  // the last one is the handoff's own
  CAPTURE(group);
  Ahead f;
  SimulatedPathOptions& peer = f.simulation.paths.front();
  REQUIRE(peer.name == "peer");
  peer.faults = {{.at_batch = group, .fault = SimulatedFault::kFail},
                 {.at_batch = group + 1, .fault = SimulatedFault::kRecover}};
  f.Start();
  const auto expected = f.ByCpu(LongRequest());
  const auto sink = f.Submit(LongRequest());
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == expected);
  CHECK(sink->misplaced == 0);
  // Another path takes it at once, or the handoff what is missing: nothing is computed again.
  CHECK(f.Recovered("recompute") == 0);
  CHECK(f.Clean());
}

TEST_CASE("a copy ahead that hangs, or whose end dies, leaves no wrong token") {
  const int group = GENERATE(1, 2, 3, 4);
  struct Fault {
    const char* of;
    SimulatedFault fault;
  };
  const auto fault =
      GENERATE(Fault{"peer", SimulatedFault::kHang}, Fault{"peer", SimulatedFault::kLose},
               Fault{"fpga0", SimulatedFault::kLose}, Fault{"gpu0", SimulatedFault::kLose},
               Fault{"fpga0", SimulatedFault::kHang});
  CAPTURE(group, fault.of, static_cast<int>(fault.fault));
  Ahead f(/*copy_us=*/20'000, /*lease_ms=*/400);
  if (fault.fault == SimulatedFault::kHang) f.FenceSoon();
  f.Start();
  const auto expected = f.ByCpu(LongRequest());
  const auto sink = f.Submit(LongRequest());
  // On a busy machine chunks end while a copy is under way, and go together in fewer.
  const auto reached = [&] {
    return f.Copies("peer") + static_cast<int64_t>(f.node->open_copies()) >= group ||
           sink->chunks >= 2;
  };
  REQUIRE(Eventually(reached));
  REQUIRE_OK(f.node->Inject(fault.of, fault.fault));
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == expected);
  CHECK(sink->misplaced == 0);
  CHECK(f.Clean());
}

TEST_CASE("a request that ends between two groups leaves nothing") {
  const bool cancel = GENERATE(true, false);
  const bool in_flight = GENERATE(true, false);
  CAPTURE(cancel, in_flight);
  Ahead f(/*copy_us=*/in_flight ? 5'000'000 : 50);
  f.Start();
  GenerateRequest request = LongRequest();
  if (!cancel) request.envelope.deadline_us = SystemClock().NowUs() + 1'500'000;
  REQUIRE_OK(f.node->Inject("gpu0", SimulatedFault::kSlow, 3'000));  // 0.9 s for each chunk
  const auto sink = f.Submit(request);
  REQUIRE(
      Eventually([&] { return in_flight ? f.node->open_copies() == 1 : f.Copies("peer") == 1; }));
  if (cancel) f.engine->Cancel(f.last);
  CHECK(sink->Wait().status.code() ==
        (cancel ? absl::StatusCode::kCancelled : absl::StatusCode::kDeadlineExceeded));
  CHECK(sink->ids.empty());
  CHECK(f.Clean());
}

TEST_CASE("texts that go ahead and make room for each other end as they would alone") {
  Ahead f;
  f.options.schedule.sequences_running_max = 4;
  f.options.kv.memory_mb = 1;
  f.Start();
  std::vector<std::vector<TokenId>> expected;
  for (uint32_t i = 0; i < 4; ++i) expected.push_back(f.ByCpu(LongRequest(i)));
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  for (uint32_t i = 0; i < 16; ++i) {
    GenerateRequest request = LongRequest(i % 4);
    request.envelope.priority = static_cast<int32_t>(i % 3);
    sinks.push_back(f.Submit(request));
  }
  for (size_t i = 0; i < 16; ++i) {
    REQUIRE_OK(sinks[i]->Wait().status);
    CHECK(sinks[i]->ids == expected[i % 4]);
  }
  CHECK(f.Clean());
}

}  // namespace
}  // namespace baton
