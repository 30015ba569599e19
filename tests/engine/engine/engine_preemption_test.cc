// Sequences that lose their KV memory to others give the text that they give with memory for all.
#include <catch2/catch.hpp>
#include <random>

#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

constexpr int32_t kTokens = 480;

// 4 KB of K and V for each token in f32, 256 KB for each block of 64 tokens.
const RandomModelOptions kModel = {
    .heads = 4, .kv_heads = 4, .head_dim = 64, .context_tokens = 1024};

// About 16 blocks of any type, where each of the requests below fills 8 to 10 and half of its
// max_tokens is expected at first: three or four run at once, and two have room to the end.
int64_t TightMemoryMb(const std::string& type) { return type == "f32" ? 4 : type == "f16" ? 2 : 1; }

GenerateRequest Base(int i) {
  std::mt19937 random(static_cast<uint32_t>(i) * 7 + 1);
  std::vector<TokenId> prompt;
  for (int t = 0; t < (i == 4 || i == 5 ? 150 : 6 + 3 * i); ++t)
    prompt.push_back(260 + static_cast<TokenId>(random() % 20));
  GenerateRequest request;
  request.prompt = std::move(prompt);
  request.max_tokens = kTokens;
  request.ignore_eos = true;
  request.sampling.seed = 11 + static_cast<uint64_t>(i);
  return request;
}

// Everything that a sequence carries from token to token, one way or another.
std::vector<GenerateRequest> Requests() {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 8; ++i) requests.push_back(Base(i));
  requests[1].sampling.temperature = 1.5f;
  requests[2].sampling.temperature = 0.9f;
  requests[2].sampling.top_p = 0.95f;
  requests[2].logprobs = 3;
  requests[3].sampling.temperature = 1;
  requests[3].sampling.repetition_penalty = 1.4f;
  requests[3].sampling.frequency_penalty = 0.5f;
  requests[3].sampling.penalty_last_n = 30;
  requests[4].echo = true;
  requests[4].logprobs = 2;
  requests[5].echo = true;
  requests[5].completions = 2;
  requests[5].sampling.temperature = 1.2f;
  requests[6].ignore_eos = false;
  requests[6].sampling.temperature = 3;
  requests[6].stop.min_tokens = 140;
  // One repeats itself: guesses of its next tokens come true.
  auto& prompt = std::get<std::vector<TokenId>>(requests[7].prompt);
  for (size_t t = 0; t < prompt.size(); ++t) prompt[t] = 260 + static_cast<TokenId>(t % 5);
  requests[7].sampling.logit_bias = {{263, 4.0f}, {264, 4.0f}};
  return requests;
}

struct Run {
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  int64_t preemptions = 0;
  double reloaded_tokens = 0;
};

Run RunAll(const EngineOptions& options, const std::vector<GenerateRequest>& requests) {
  EngineFixture f;
  f.options = options;
  RandomModelOptions model = kModel;
  // Of these prompts may have an arithmetic of their own.
  if (options.kv.type != "f32") model.type = TensorType::kQ8_0;
  f.AddRandomModel(model);
  Engine& engine = f.Start();
  Run run;
  for (const GenerateRequest& request : requests) {
    run.sinks.push_back(std::make_shared<GenerateRecorder>());
    REQUIRE_OK(engine.Submit(request, run.sinks.back()));
  }
  int64_t told = 0;
  for (const auto& sink : run.sinks) {
    REQUIRE_OK(sink->Wait().status);
    CHECK(sink->misplaced == 0);
    CHECK(sink->early_prompt);
    for (const auto& [index, completion] : sink->completions) {
      told += completion.result.preemptions;
      // The prompt is counted once, and every token after the first is a step's.
      CHECK(std::ssize(completion.ids) == completion.result.generated_tokens);
      CHECK(completion.result.decode_steps + completion.result.draft_tokens_accepted >=
            completion.result.generated_tokens - 1);
    }
  }
  run.preemptions = static_cast<int64_t>(f.metrics.Counter(MetricId::kPreemptions).Value());
  CHECK(told == run.preemptions);
  run.reloaded_tokens = f.metrics.Counter(MetricId::kKvReloadedTokens).Value();
  const double recomputed = f.metrics.Counter(MetricId::kRecomputedTokens).Value();
  if (run.preemptions == 0) CHECK(recomputed == 0);
  int64_t prompt_tokens = 0;
  for (const GenerateRequest& request : requests) {
    prompt_tokens +=
        request.completions * std::ssize(std::get<std::vector<TokenId>>(request.prompt));
  }
  CHECK(f.metrics.Counter(MetricId::kPromptTokens).Value() +
            f.metrics.Counter(MetricId::kCachedPromptTokens).Value() ==
        static_cast<double>(prompt_tokens));
  CHECK(Eventually([&] {
    return f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "used"}).Value() == 0 &&
           f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "reserved"}).Value() == 0;
  }));
  return run;
}

bool Same(const std::vector<TokenLogprobs>& a, const std::vector<TokenLogprobs>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    const auto same = [](const TokenLogprob& p, const TokenLogprob& q) {
      return p.id == q.id && p.logprob == q.logprob && p.text == q.text;
    };
    return same(x.token, y.token) &&
           std::equal(x.top.begin(), x.top.end(), y.top.begin(), y.top.end(), same);
  });
}

void CheckSame(const Run& got, const Run& want) {
  REQUIRE(got.sinks.size() == want.sinks.size());
  for (size_t i = 0; i < got.sinks.size(); ++i) {
    CAPTURE(i);
    const GenerateRecorder& a = *got.sinks[i];
    const GenerateRecorder& b = *want.sinks[i];
    CHECK(a.prompt.ids == b.prompt.ids);
    CHECK(a.prompt.text == b.prompt.text);
    CHECK(Same(a.prompt.logprobs, b.prompt.logprobs));
    REQUIRE(a.completions.size() == b.completions.size());
    for (const auto& [index, completion] : a.completions) {
      const GenerateRecorder::Completion& other = b.completions.at(index);
      CAPTURE(index, completion.result.preemptions);
      CHECK(completion.ids == other.ids);
      CHECK(completion.text == other.text);
      CHECK(Same(completion.logprobs, other.logprobs));
      CHECK(completion.result.reason == other.result.reason);
      CHECK(completion.result.stop == other.result.stop);
    }
  }
}

EngineOptions Options(int64_t memory_mb, const std::string& type) {
  EngineOptions options;
  options.kv.memory_mb = memory_mb;
  options.kv.type = type;
  options.schedule.prefill_chunk_tokens_max = 13;  // preempted in the middle of prompts, too
  return options;
}

}  // namespace

TEST_CASE("preempted sequences give the text that they give with memory for all") {
  const std::string type = GENERATE("f32", "f16", "int8");
  const bool prefix_cache = type != "f16";
  CAPTURE(type, prefix_cache);
  std::vector<GenerateRequest> requests = Requests();
  const Run roomy = RunAll(Options(64, type), requests);
  CHECK(roomy.preemptions == 0);
  // Something of the text's second half ends it now: what was scanned is not scanned again.
  for (const size_t i : {0, 3}) {
    const std::string& text = roomy.sinks[i]->text;
    requests[i].stop.strings = {text.substr(text.size() * 3 / 4, 9)};
  }
  const Run stopped = RunAll(Options(64, type), requests);
  for (const int64_t plans : {1, 2}) {
    CAPTURE(plans);
    EngineOptions tight = Options(TightMemoryMb(type), type);
    tight.kv.prefix_cache = prefix_cache;
    tight.schedule.plans_in_flight_max = plans;
    const Run run = RunAll(tight, requests);
    CHECK(run.preemptions > 0);
    CheckSame(run, stopped);
    if (plans > 1) continue;
    tight.schedule.admission = "worst_case";
    const Run worst_case = RunAll(tight, requests);
    CHECK(worst_case.preemptions == 0);
    CheckSame(worst_case, stopped);
    if (!prefix_cache) continue;
    // Their blocks come back from the tier below instead of being computed.
    tight.schedule.admission = "expected";
    tight.kv.offload_memory_mb = 16;
    tight.kv.offload_reload = "always";  // whatever takes longer on this machine
    // Where the copies downwards were not done when a sequence came back, it was computed after
    // all.
    double reloaded_tokens = 0;
    for (int i = 0; i < 20 && reloaded_tokens == 0; ++i) {
      const Run offloaded = RunAll(tight, requests);
      CHECK(offloaded.preemptions > 0);
      CheckSame(offloaded, stopped);
      reloaded_tokens = offloaded.reloaded_tokens;
    }
    CHECK(reloaded_tokens > 0);
  }
}

TEST_CASE("a preempted sequence can be cancelled, and its deadline holds") {
  EngineFixture f;
  f.options = Options(TightMemoryMb("f16"), "f16");
  f.AddRandomModel(kModel);
  Engine& engine = f.Start();
  prometheus::Counter& preemptions = f.metrics.Counter(MetricId::kPreemptions);
  for (int round = 0; round < 3; ++round) {
    std::vector<std::shared_ptr<GenerateRecorder>> sinks;
    std::vector<RequestId> ids;
    for (int i = 0; i < 4; ++i) {
      const GenerateRequest request = Base(i);
      sinks.push_back(std::make_shared<GenerateRecorder>());
      const auto id = engine.Submit(request, sinks.back());
      REQUIRE_OK(id);
      ids.push_back(*id);
    }
    const double before = preemptions.Value();
    CHECK(Eventually([&] { return preemptions.Value() > before; }));
    for (const RequestId id : ids) engine.Cancel(id);
    for (const auto& sink : sinks) {
      const absl::Status status = sink->Wait().status;
      CHECK((status.ok() || absl::IsCancelled(status)));
    }
  }
  CHECK(Eventually([&] {
    return f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "used"}).Value() == 0;
  }));
}

}  // namespace baton
