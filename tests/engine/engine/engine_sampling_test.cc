// What a request may ask of its text beside the prompt: stops, penalties, log probabilities,
// several completions, the echo.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <random>
#include <set>

#include "engine/engine.h"
#include "engine/model/logprobs.h"
#include "tests/engine/engine/engine_fixture.h"
#include "tests/engine/exec/forward_harness.h"

namespace baton {
namespace {

using Tokens = std::vector<TokenId>;
constexpr TokenId kEndOfText = 2;

// Runs a request to its good end.
std::shared_ptr<GenerateRecorder> Run(Engine& engine, GenerateRequest request) {
  auto sink = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(std::move(request), sink));
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->early_prompt);
  CHECK(sink->misplaced == 0);
  for (const auto& [index, completion] : sink->completions) {
    CHECK(completion.ended);
    CHECK(std::ssize(completion.ids) == completion.result.generated_tokens);
  }
  return sink;
}

const GenerateResult& ResultOf(const GenerateRecorder& sink) {
  return sink.completions.at(0).result;
}

GenerateRequest Greedy(std::string prompt, int32_t max_tokens) {
  return {.prompt = std::move(prompt), .max_tokens = max_tokens, .ignore_eos = true};
}

// How many tokens were generated before the one that the item samples, behind a prompt of one.
int32_t GeneratedBefore(const LlmItem& item) {
  return item.work_class == WorkClass::kPrefill ? 0 : item.position;
}

// A fixture whose executor writes the tokens that spell `text`, over and over.
struct Writes : EngineFixture {
  explicit Writes(const std::string& text) {
    AddRandomModel();
    const Tokens tokens = models.front()->tokenizer().Encode(text);
    AddScripted([tokens](const LlmItem& item) -> absl::StatusOr<TokenId> {
      return tokens[static_cast<size_t>(GeneratedBefore(item)) % tokens.size()];
    });
  }
  GenerateRequest Request(StopConditions stop, int32_t max_tokens = 40) const {
    GenerateRequest request = Scripted("", max_tokens);
    request.prompt = Tokens{260};
    request.stop = std::move(stop);
    return request;
  }
};

TEST_CASE("a stop string ends the text, also across tokens and among guesses") {
  Writes f("hello there, world. ");
  f.options.schedule.draft_tokens_max = GENERATE(0, 16);
  Engine& engine = f.Start();
  const auto all = Run(engine, f.Request({}, 60));
  CHECK(ResultOf(*all).reason == FinishReason::kLength);
  const std::string& text = all->text;
  REQUIRE(text.size() > 45);  // the text comes around
  for (size_t begin = 0; begin < 40; ++begin) {
    for (const size_t length : {size_t{1}, size_t{3}, size_t{7}}) {
      const std::string stop = text.substr(begin, length);
      const size_t first = text.find(stop);
      CAPTURE(stop);
      const auto sink = Run(engine, f.Request({.strings = {"not there", stop}}, 60));
      CHECK(sink->text == text.substr(0, first));
      CHECK(ResultOf(*sink).reason == FinishReason::kStopString);
      CHECK(std::get<std::string>(ResultOf(*sink).stop) == stop);
      CHECK(std::equal(sink->ids.begin(), sink->ids.end(), all->ids.begin()));
      // The ids go to the end of what they spell, and no further.
      const std::string spelt = DecodeAll(f.models[0]->tokenizer(), sink->ids);
      CHECK(spelt.size() + 1 >= first + length);  // the tokenizer drops a leading space

      const auto with = Run(engine, f.Request({.strings = {stop}, .include = true}, 60));
      CHECK(with->text == text.substr(0, first + length));
      CHECK(with->ids == sink->ids);
    }
  }
  CHECK(f.metrics.Counter(MetricId::kGenerateFinished, {"stop_string"}).Value() == 240);
}

TEST_CASE("text held back for a stop string that does not come is delivered at the end") {
  Writes f("abcabc");
  Engine& engine = f.Start();
  const auto plain = Run(engine, f.Request({}, 5));
  const auto held = Run(engine, f.Request({.strings = {plain->text + "and on"}}, 5));
  CHECK(held->text == plain->text);
  CHECK(ResultOf(*held).reason == FinishReason::kLength);
  CHECK(std::holds_alternative<std::monostate>(ResultOf(*held).stop));
}

TEST_CASE("stop tokens and end-of-text end the text, not within min_tokens") {
  EngineFixture f;
  f.AddRandomModel();
  // 260 261 262 </s> 260 261 262 </s> ...
  f.AddScripted([](const LlmItem& item) -> absl::StatusOr<TokenId> {
    const int32_t generated = GeneratedBefore(item);
    return generated % 4 == 3 ? kEndOfText : TokenId{260 + generated % 4};
  });
  Engine& engine = f.Start();
  const auto run = [&engine](StopConditions stop, bool ignore_eos = false) {
    GenerateRequest request = EngineFixture::Scripted("", 20);
    request.prompt = Tokens{260};
    request.stop = std::move(stop);
    request.ignore_eos = ignore_eos;
    return Run(engine, request);
  };
  const auto eos = run({});
  CHECK(eos->ids == Tokens{260, 261, 262});
  CHECK(ResultOf(*eos).reason == FinishReason::kStop);
  CHECK(std::get<TokenId>(ResultOf(*eos).stop) == kEndOfText);

  const auto stop = run({.tokens = {300, 262}});
  CHECK(stop->ids == Tokens{260, 261});
  CHECK(ResultOf(*stop).reason == FinishReason::kStopToken);
  CHECK(std::get<TokenId>(ResultOf(*stop).stop) == 262);

  const auto with = run({.tokens = {262}, .include = true});
  CHECK(with->ids == Tokens{260, 261, 262});
  CHECK(with->text.size() > stop->text.size());

  // The scripted executor samples what it should not; it is text then.
  CHECK(run({.tokens = {262}, .min_tokens = 2})->ids.size() == 2);
  CHECK(run({.tokens = {262}, .min_tokens = 3})->ids.size() == 3);
  CHECK(run({.tokens = {262}, .min_tokens = 4})->ids.size() == 6);
  CHECK(ResultOf(*run({.tokens = {262}, .min_tokens = 4})).reason == FinishReason::kStopToken);
  CHECK(run({.tokens = {262}, .min_tokens = 4}, true)->ids.size() == 6);
  CHECK(run({}, true)->ids.size() == 20);
  CHECK(ResultOf(*run({.tokens = {299}, .min_tokens = 20})).reason == FinishReason::kLength);
}

TEST_CASE("a stop string that ends within min_tokens is text") {
  Writes f("abcd");
  Engine& engine = f.Start();
  const auto plain = Run(engine, f.Request({}, 30));
  const std::string stop = plain->text.substr(1, 1);
  const auto once = Run(engine, f.Request({.strings = {stop}}, 30));
  const auto later = Run(engine, f.Request({.strings = {stop}, .min_tokens = 7}, 30));
  CHECK(ResultOf(*once).generated_tokens < 7);
  CHECK(ResultOf(*later).generated_tokens > 7);
  CHECK(ResultOf(*later).reason == FinishReason::kStopString);
}

TEST_CASE("the model's sampler gives no end within min_tokens") {
  EngineFixture f;
  f.AddRandomModel();
  Engine& engine = f.Start();
  GenerateRequest request = Greedy("the cat", 30);
  request.ignore_eos = false;
  request.sampling.logit_bias = {{kEndOfText, 100}};
  CHECK(Run(engine, request)->ids.empty());
  request.stop.min_tokens = 9;
  const auto nine = Run(engine, request);
  CHECK(nine->ids.size() == 9);
  CHECK(std::count(nine->ids.begin(), nine->ids.end(), kEndOfText) == 0);
  CHECK(ResultOf(*nine).reason == FinishReason::kStop);
}

// Settings that change what is generated, of every kind.
std::vector<GenerateRequest> Settings() {
  std::vector<GenerateRequest> requests(6, Greedy("one two three one two three one two", 60));
  requests[1].sampling.repetition_penalty = 1.3f;
  requests[1].sampling.penalty_last_n = 8;
  requests[2].sampling.presence_penalty = 0.6f;
  requests[2].sampling.frequency_penalty = 0.3f;
  requests[3].sampling.logit_bias = {{270, 1.5f}, {271, -5}};
  requests[3].sampling.repetition_penalty = 0.9f;  // rewards repeating, so that guesses are right
  requests[3].sampling.penalty_last_n = -1;
  requests[4].sampling.temperature = 0.7f;
  requests[4].sampling.seed = 5;
  requests[4].sampling.presence_penalty = -0.5f;
  requests[5].sampling.frequency_penalty = -1;
  requests[5].logprobs = 3;
  requests[5].stop.min_tokens = 30;
  requests[5].ignore_eos = false;
  return requests;
}

TEST_CASE("guesses change no text, whatever the settings") {
  struct Texts {
    std::vector<Tokens> ids;
    std::vector<std::vector<float>> logprobs;
    int64_t accepted = 0;
  };
  const auto run = [](int32_t draft_tokens_max) {
    EngineFixture f;
    f.AddRandomModel({.context_tokens = 256});
    f.options.schedule.draft_tokens_max = draft_tokens_max;
    Engine& engine = f.Start();
    Texts texts;
    for (const GenerateRequest& request : Settings()) {
      const auto sink = Run(engine, request);
      texts.ids.push_back(sink->ids);
      auto& logprobs = texts.logprobs.emplace_back();
      for (const TokenLogprobs& next : sink->completions.at(0).logprobs) {
        logprobs.push_back(next.token.logprob);
      }
      texts.accepted += ResultOf(*sink).draft_tokens_accepted;
    }
    return texts;
  };
  const Texts plain = run(0);
  const Texts drafted = run(16);
  CHECK(plain.ids == drafted.ids);
  CHECK(plain.logprobs == drafted.logprobs);
  CHECK(plain.accepted == 0);
  CHECK(drafted.accepted > 20);
  const std::set<Tokens> different(plain.ids.begin(), plain.ids.end());
  CHECK(different.size() == plain.ids.size());
}

TEST_CASE("log probabilities are those of the model, whatever the settings") {
  EngineFixture f;
  f.AddRandomModel();
  f.options.schedule.prefill_chunk_tokens_max = 5;  // the prompt comes in pieces
  Engine& engine = f.Start();
  GenerateRequest request = Greedy("the cat sat on", 12);
  request.sampling = {.temperature = 1, .seed = 3, .logit_bias = {{280, 4}}};
  request.sampling.repetition_penalty = 1.5f;
  request.logprobs = 4;
  request.echo = true;
  const auto sink = Run(engine, request);
  const auto& generated = sink->completions.at(0);
  REQUIRE(generated.logprobs.size() == 12);
  REQUIRE(sink->prompt.ids.size() > 6);
  REQUIRE(sink->prompt.logprobs.size() == sink->prompt.ids.size() - 1);
  CHECK(sink->prompt.text == "the cat sat on");

  // By hand: the forward pass over the whole text, token by token.
  Tokens all = sink->prompt.ids;
  all.insert(all.end(), generated.ids.begin(), generated.ids.end());
  std::vector<TokenLogprobs> got = sink->prompt.logprobs;
  got.insert(got.end(), generated.logprobs.begin(), generated.logprobs.end());
  const KvLayout layout = LayoutOf(f.models[0]->shape(), 8, *KvTypeOf(f.options.kv.type));
  ThreadTeam team(1);
  DecoderForward forward(f.models[0], KernelsFor(DetectedSimdLevel()), team, 64);
  SequenceBlocks blocks(layout, 64);
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const TokenId fed[] = {all[i]};
    const auto logits = LogitsAfter(forward, layout, blocks, fed, static_cast<int32_t>(i));
    const TokenLogprobs want = LogprobsOf(logits, all[i + 1], 4);
    REQUIRE(got[i].token.id == all[i + 1]);
    CHECK(got[i].token.logprob == Approx(want.token.logprob).margin(1e-5));
    REQUIRE(got[i].top.size() == 4);
    for (size_t t = 0; t < 4; ++t) {
      CHECK(got[i].top[t].id == want.top[t].id);
      CHECK(got[i].top[t].logprob == Approx(want.top[t].logprob).margin(1e-5));
      CHECK(got[i].top[t].text ==
            f.models[0]->tokenizer().TokenBytes(got[i].top[t].id, /*first=*/false));
    }
  }

  request.logprobs = 0;
  request.echo = false;
  const auto own = Run(engine, request);
  CHECK(own->ids == sink->ids);
  CHECK(own->prompt.ids.empty());
  REQUIRE(own->completions.at(0).logprobs.size() == 12);
  CHECK(own->completions.at(0).logprobs[5].top.empty());
  request.logprobs.reset();
  CHECK(Run(engine, request)->completions.at(0).logprobs.empty());
}

TEST_CASE("several completions: each what its seed gives alone, the prompt once") {
  EngineFixture f;
  f.AddRandomModel();
  f.options.schedule.sequences_running_max = 3;
  Engine& engine = f.Start();
  GenerateRequest request = Greedy("the cat", 15);
  request.sampling = {.temperature = 1.5f, .seed = 7};
  const auto alone = Run(engine, request);
  request.completions = 8;
  request.echo = true;
  const auto sink = Run(engine, request);
  CHECK(sink->prompt.text == "the cat");
  REQUIRE(sink->completions.size() == 8);
  CHECK(sink->ids == alone->ids);
  request.completions = 1;
  request.echo = false;
  std::set<Tokens> different;
  std::set<uint64_t> seeds;
  for (const auto& [index, completion] : sink->completions) {
    CHECK(completion.result.index == index);
    CHECK(completion.result.reason == FinishReason::kLength);
    REQUIRE(completion.result.timings.stages.size() == 3);
    CHECK(completion.result.timings.stages[2].items == 14);
    different.insert(completion.ids);
    seeds.insert(completion.result.seed);
    request.sampling.seed = completion.result.seed;
    CHECK(Run(engine, request)->ids == completion.ids);
  }
  CHECK(different.size() == 8);
  CHECK(seeds.size() == 8);
  CHECK(seeds.contains(7));
  CHECK(engine.InFlight() == 0);
}

TEST_CASE("of several completions all are cancelled, and all fail with one") {
  EngineFixture f;
  f.AddRandomModel();
  std::atomic<bool> broken{false};
  ScriptedExecutor& executor =
      f.AddScripted([&broken](const LlmItem& item) -> absl::StatusOr<TokenId> {
        if (broken && item.position > 5) return absl::InternalError("ECC error");
        return TokenId{270};
      });
  Engine& engine = f.Start();
  GenerateRequest request = EngineFixture::Scripted("hello", 20);
  request.completions = 5;
  const auto all_free = [&f] {
    return Eventually([&f] {
      return f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "used"}).Value() == 0;
    });
  };
  SECTION("cancelled") {
    executor.Hold();
    auto sink = std::make_shared<GenerateRecorder>();
    const auto id = engine.Submit(request, sink);
    REQUIRE_OK(id);
    REQUIRE(Eventually([&] { return executor.queued() > 0; }));
    engine.Cancel(*id);
    CHECK(absl::IsCancelled(sink->Wait().status));
    executor.Resume();
  }
  SECTION("failed") {
    broken = true;
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine.Submit(request, sink));
    CHECK(sink->Wait().status.code() == absl::StatusCode::kInternal);
  }
  CHECK(all_free());
  CHECK(engine.InFlight() == 0);
  broken = false;
  CHECK(Run(engine, request)->completions.size() == 5);
}

TEST_CASE("settings that do not fit the model are refused with the limit") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 32});
  Engine& engine = f.Start();
  const auto refused = [&engine](auto set, const std::string& message) {
    GenerateRequest request = Greedy("a", 8);
    set(request);
    auto sink = std::make_shared<GenerateRecorder>();
    const auto id = engine.Submit(request, sink);
    const absl::Status status = id.ok() ? sink->Wait().status : id.status();
    REQUIRE_STATUS(status, absl::StatusCode::kInvalidArgument, message);
  };
  using R = GenerateRequest;
  refused([](R& r) { r.sampling.logit_bias[320] = 1; },
          "sampling.logit_bias: token ids must be 0 to 319, but one is 320");
  refused([](R& r) { r.sampling.logit_bias[-1] = 1; }, "but one is -1");
  refused([](R& r) { r.stop.tokens = {5, 320}; }, "stop_token_ids[1] must be 0 to 319, but is 320");
  refused([](R& r) { r.stop.min_tokens = 9; },
          "min_tokens must be 0 to max_tokens, which is 8, but is 9");
  refused([](R& r) { r.stop.strings = {""}; }, "stop[0]");
  refused([](R& r) { r.completions = 17; }, "n must be 1 to 16");
}

}  // namespace
}  // namespace baton
