// Devices that keep keys and values each as its own type: they are converted as they are handed
// over.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "tests/engine/engine/hybrid_fixture.h"

namespace baton {
namespace {

// Prompt of three blocks, chunks of one, so that parts go ahead where `ahead`.
class Converting : public Hybrid {
 public:
  Converting(const std::string& gpu_type, const std::string& fpga_type, bool ahead) {
    options.kv.type = "f32";
    options.kv.gpu_type = gpu_type;
    options.kv.fpga_type = fpga_type;
    options.transfer.ahead_kb_min = ahead ? 0 : -1;
    options.schedule.prefill_chunk_tokens_max = 64;
    Start();
  }

  struct Text {
    std::vector<TokenId> ids;
    std::vector<double> logprobs;
    std::vector<Stage> stages;
    int32_t cached = 0;
  };
  Text Ask(std::optional<Platform> platform = {}, std::optional<HandoffFailure> on_failure = {}) {
    GenerateRequest request = Request(0);
    std::vector<TokenId>& prompt = std::get<std::vector<TokenId>>(request.prompt);
    for (int i = 0; i < 170; ++i) prompt.push_back(260 + i * i % 30);
    request.logprobs = 0;
    request.envelope.hints.on_handoff_failure = on_failure;
    if (platform) {
      request.envelope.hints.fallback.reset();
      request.envelope.hints.platform = platform;
    }
    const auto sink = Submit(request);
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    Text text{.ids = sink->ids, .logprobs = {}, .stages = outcome.result.timings.stages};
    text.cached = outcome.result.cached_prompt_tokens;
    for (const TokenLogprobs& token : sink->completions[0].logprobs)
      text.logprobs.push_back(token.token.logprob);
    REQUIRE(text.ids.size() == kHybridTokens);
    REQUIRE(text.logprobs.size() == kHybridTokens);
    return text;
  }
};

// The largest difference of log probabilities up to where the texts part, and how many tokens that
// is.
struct Difference {
  double most = 0;
  int tokens = 0;
};
Difference Compare(const Converting::Text& a, const Converting::Text& b) {
  Difference difference;
  for (size_t i = 0; i < a.ids.size() && a.ids[i] == b.ids[i]; ++i) {
    difference.most = std::max(difference.most, std::abs(a.logprobs[i] - b.logprobs[i]));
    ++difference.tokens;
  }
  return difference;
}

TEST_CASE("keys and values are converted between devices that keep them differently") {
  struct Pair {
    const char* gpu;
    const char* fpga;
    double most;  // of what the log probabilities may differ by from those of f32 throughout
  };
  const auto pair =
      GENERATE(Pair{"f32", "f32", 0}, Pair{"same", "same", 0}, Pair{"f32", "f16", 0.02},
               Pair{"f16", "f32", 0.02}, Pair{"bf16", "f16", 0.1}, Pair{"f32", "int8", 0.5},
               Pair{"int8", "f32", 0.5});
  const bool ahead = GENERATE(true, false);
  CAPTURE(pair.gpu, pair.fpga, ahead);
  Converting f(pair.gpu, pair.fpga, ahead);
  const auto exact = f.Ask(Platform::kCpu);
  const auto text = f.Ask();
  REQUIRE(text.stages.size() == 3);
  CHECK(text.stages[1].route.reason == "path peer");
  CHECK(text.stages[2].route.platform == Platform::kFpga);
  const Difference difference = Compare(text, exact);
  CHECK(difference.most <= pair.most);
  CHECK(difference.tokens >= 2);
  if (pair.most == 0) {
    CHECK(difference.tokens == kHybridTokens);
  } else {
    CHECK(difference.most > 0);  // it was not kept as f32 after all
  }
  // Its parts' bytes add up.
  const double moved = f.metrics.Counter(MetricId::kHandoffBytes, {"peer"}).Value();
  CHECK(moved == static_cast<double>(text.stages[1].items));
  CHECK(moved > 0);

  // The same again: the prompt is found where it was computed, and what was converted is not taken
  // for what the FPGA would have computed.
  const auto again = f.Ask();
  CHECK(again.ids == text.ids);
  CHECK(again.logprobs == text.logprobs);
  CHECK(again.cached == 128);
  const auto on_fpga = f.Ask(Platform::kFpga);
  if (std::string(pair.gpu) != pair.fpga) CHECK(on_fpga.cached == 0);
  CHECK(f.Clean());
}

TEST_CASE("a text whose conversion fails is computed again, or stays") {
  const auto policy = GENERATE(HandoffFailure::kRecompute, HandoffFailure::kLocal);
  CAPTURE(Name(policy));
  Converting f("f16", "int8", /*ahead=*/true);
  REQUIRE_OK(f.node->Inject("peer", SimulatedFault::kFail));
  REQUIRE_OK(f.node->Inject("up+fpga-down", SimulatedFault::kFail));
  const auto text = f.Ask({}, policy);
  CHECK(text.stages.back().route.platform != Platform::kFpga);
  CHECK(f.Recovered(Name(policy).data()) == 1);
  CHECK(f.Clean());
}

}  // namespace
}  // namespace baton
