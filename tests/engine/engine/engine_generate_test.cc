#include <catch2/catch.hpp>
#include <random>
#include <thread>

#include "engine/base/simd_level.h"
#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

// Tokens that spell nothing special: letters of the test vocabulary.
absl::StatusOr<TokenId> Letters(const LlmItem& item) {
  return TokenId{260 + (item.position + static_cast<int32_t>(item.tokens.size())) % 20};
}

const Stage& StageOf(const Timings& timings, std::string_view name) {
  for (const Stage& stage : timings.stages) {
    if (stage.name == name) return stage;
  }
  FAIL("no stage " << name);
  return timings.stages.front();
}

TEST_CASE("generation on the CPU: tokens stream, every stage is routed and timed") {
  EngineFixture f;
  f.AddRandomModel();
  Engine& engine = f.Start();
  GenerateRequest request;
  request.prompt = "hello there";
  request.max_tokens = 12;
  request.ignore_eos = true;
  auto sink = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(request, sink));
  const auto outcome = sink->Wait();
  REQUIRE_OK(outcome.status);
  CHECK(sink->ids.size() == 12);
  CHECK(sink->chunks >= 2);
  CHECK(outcome.result.reason == FinishReason::kLength);
  CHECK(outcome.result.generated_tokens == 12);
  CHECK(outcome.result.prompt_tokens > 1);
  CHECK(outcome.result.model == "random");

  const Stage& prefill = StageOf(outcome.result.timings, "prefill");
  CHECK(prefill.route.work_class == WorkClass::kPrefill);
  CHECK(prefill.route.platform == Platform::kCpu);
  CHECK(prefill.route.preferred == Platform::kGpu);
  CHECK(prefill.route.fallback);
  CHECK(prefill.route.rule == "llm-prefill");
  CHECK(prefill.items == outcome.result.prompt_tokens);
  CHECK(prefill.run_us > 0);
  const Stage& decode = StageOf(outcome.result.timings, "decode");
  CHECK(decode.route.rule == "llm-decode");
  CHECK(decode.items == 11);  // the first token came of the prefill
  CHECK(StageOf(outcome.result.timings, "handoff").route.reason == "path same_space");
  const auto told = [&f](MetricId id) { return f.metrics.Histogram(id).Collect().histogram; };
  CHECK(told(MetricId::kTimeToFirstTokenSeconds).sample_count == 1);
  CHECK(told(MetricId::kGeneratePromptTokens).sample_sum == outcome.result.prompt_tokens);
  CHECK(told(MetricId::kGenerateOutputTokens).sample_sum == 12);
  // The parts of its time, and the whole.
  const double decode_seconds = told(MetricId::kGenerateDecodeSeconds).sample_sum;
  CHECK(decode_seconds > 0);
  CHECK(told(MetricId::kTimePerOutputTokenSeconds).sample_sum == Approx(decode_seconds / 11));
  CHECK(told(MetricId::kGenerateQueueSeconds).sample_sum +
            told(MetricId::kGeneratePrefillSeconds).sample_sum ==
        Approx(told(MetricId::kTimeToFirstTokenSeconds).sample_sum));
  CHECK(told(MetricId::kGenerateSeconds).sample_sum >=
        told(MetricId::kTimeToFirstTokenSeconds).sample_sum + decode_seconds - 1e-6);
}

TEST_CASE("the same prompt gives the same tokens alone and in company") {
  EngineFixture f;
  f.AddRandomModel({.type = GENERATE(TensorType::kF32, TensorType::kQ8_0)});
  f.options.schedule.prefill_chunk_tokens_max = 5;
  Engine& engine = f.Start();
  const auto submit = [&engine](const std::string& prompt, float temperature) {
    GenerateRequest request;
    request.prompt = prompt;
    request.max_tokens = 24;
    request.ignore_eos = true;
    request.sampling = {.temperature = temperature, .seed = 7};
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine.Submit(request, sink));
    return sink;
  };
  const auto alone = submit("the cat sat", 0);
  REQUIRE_OK(alone->Wait().status);
  const auto sampled = submit("the cat sat", 1.5f);
  REQUIRE_OK(sampled->Wait().status);
  CHECK(sampled->ids != alone->ids);

  std::vector<std::shared_ptr<GenerateRecorder>> others, same, same_sampled;
  for (int i = 0; i < 5; ++i) {
    others.push_back(submit("something else entirely, number " + std::to_string(i), 0.8f));
    same.push_back(submit("the cat sat", 0));
    same_sampled.push_back(submit("the cat sat", 1.5f));
  }
  for (const auto& sink : others) REQUIRE_OK(sink->Wait().status);
  for (const auto& sink : same) {
    REQUIRE_OK(sink->Wait().status);
    CHECK(sink->ids == alone->ids);
  }
  for (const auto& sink : same_sampled) {
    REQUIRE_OK(sink->Wait().status);
    CHECK(sink->ids == sampled->ids);
  }
}

TEST_CASE("a prompt that begins like an earlier one is prefilled from there, to the same tokens") {
  struct Answer {
    std::vector<TokenId> ids;
    GenerateResult result;
  };
  const TensorType type = GENERATE(TensorType::kF32, TensorType::kQ8_0);
  const auto run = [type](bool prefix_cache) {
    EngineFixture f;
    f.AddRandomModel({.context_tokens = 512, .type = type});
    f.options.kv.prefix_cache = prefix_cache;
    f.options.kv.memory_mb = 1;  // a few sequences' worth: old blocks have to go
    Engine& engine = f.Start();
    std::mt19937 random(5);
    std::vector<TokenId> text;
    for (int i = 0; i < 150; ++i) text.push_back(260 + static_cast<TokenId>(random() % 20));
    std::vector<Answer> answers;
    const auto ask = [&](std::vector<TokenId> prompt, const std::string& tenant) {
      GenerateRequest request;
      request.prompt = std::move(prompt);
      request.max_tokens = 80;
      request.ignore_eos = true;
      request.envelope.tenant = tenant;
      auto sink = std::make_shared<GenerateRecorder>();
      REQUIRE_OK(engine.Submit(request, sink));
      const auto outcome = sink->Wait();
      REQUIRE_OK(outcome.status);
      answers.push_back({sink->ids, outcome.result});
    };
    ask(text, "");
    ask(text, "");
    ask(text, "another");
    // The next turn of a conversation: what was said before is known, the answer too.
    std::vector<TokenId> turn = text;
    turn.insert(turn.end(), answers[0].ids.begin(), answers[0].ids.end());
    turn.insert(turn.end(), 10, 261);
    ask(turn, "");
    for (int i = 0; i < 20; ++i) {  // far more than the memory holds
      for (TokenId& token : text) token = 260 + static_cast<TokenId>(random() % 20);
      ask(text, "");
    }
    ask(text, "");
    CHECK(f.metrics.Counter(MetricId::kCachedPromptTokens).Value() ==
          answers[1].result.cached_prompt_tokens + answers[3].result.cached_prompt_tokens +
              answers.back().result.cached_prompt_tokens);
    return answers;
  };
  const std::vector<Answer> plain = run(false);
  const std::vector<Answer> cached = run(true);
  for (size_t i = 0; i < plain.size(); ++i) {
    CAPTURE(i);
    CHECK(cached[i].ids == plain[i].ids);
    CHECK(plain[i].result.cached_prompt_tokens == 0);
  }
  CHECK(cached[0].result.cached_prompt_tokens == 0);
  CHECK(cached[1].result.cached_prompt_tokens == 128);  // two blocks of 64
  CHECK(StageOf(cached[1].result.timings, "prefill").items == 22);
  CHECK(cached[2].result.cached_prompt_tokens == 0);  // another tenant's
  // Of 150 and 79: the last is never fed. Where prompts have an arithmetic of their own, what was
  // generated is not taken for one.
  const bool apart = type == TensorType::kQ8_0 && DetectedSimdLevel() == SimdLevel::kAmx;
  CHECK(cached[3].result.cached_prompt_tokens == (apart ? 128 : 192));
  CHECK(cached.back().result.cached_prompt_tokens == 128);
}

TEST_CASE("guessed tokens are those that come anyway, in fewer steps") {
  const auto run = [](int32_t draft_tokens_max) {
    EngineFixture f;
    f.AddRandomModel({.context_tokens = 256});
    f.AddScripted(Letters);  // the same 20 tokens over and over
    f.options.schedule.draft_tokens_max = draft_tokens_max;
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(f.Start().Submit(EngineFixture::Scripted("hello", 150), sink));
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    CHECK(outcome.result.generated_tokens == 150);
    CHECK(f.metrics.Counter(MetricId::kDraftTokens).Value() == outcome.result.draft_tokens);
    CHECK(f.metrics.Counter(MetricId::kDraftTokensAccepted).Value() ==
          outcome.result.draft_tokens_accepted);
    CHECK(outcome.result.draft_tokens_accepted == 149 - outcome.result.decode_steps);
    return std::pair(sink->ids, outcome.result);
  };
  const auto [plain_ids, plain] = run(0);
  CHECK(plain.decode_steps == 149);
  CHECK(plain.draft_tokens == 0);
  const auto [ids, drafted] = run(16);
  CHECK(ids == plain_ids);
  CHECK(drafted.decode_steps < 75);
  CHECK(drafted.draft_tokens > 75);
}

TEST_CASE("end of text, the context and max_tokens end a sequence, each with its reason") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 32});
  f.AddScripted([](const LlmItem& item) -> absl::StatusOr<TokenId> {
    return item.position == 9 ? TokenId{2} : *Letters(item);  // 2 is </s>
  });
  Engine& engine = f.Start();
  const auto run = [&](int32_t prompt_tokens, int32_t max_tokens, bool ignore_eos) {
    GenerateRequest request = EngineFixture::Scripted("", max_tokens);
    request.prompt = std::vector<TokenId>(static_cast<size_t>(prompt_tokens), 260);
    request.ignore_eos = ignore_eos;
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine.Submit(request, sink));
    const auto outcome = sink->Wait();
    REQUIRE_OK(outcome.status);
    CHECK(std::ssize(sink->ids) == outcome.result.generated_tokens);
    return outcome.result;
  };
  const GenerateResult stop = run(5, 20, false);
  CHECK(stop.reason == FinishReason::kStop);
  CHECK(stop.generated_tokens == 5);  // of positions 4 to 8; position 9 gave </s>
  CHECK(run(5, 20, true).generated_tokens == 20);
  CHECK(run(5, 1, false).reason == FinishReason::kLength);
  CHECK(run(20, 100, false).reason == FinishReason::kContext);
  CHECK(run(20, 100, false).generated_tokens == 12);
}

TEST_CASE("prompts that cannot run are refused with the limit") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 32});
  f.options.kv.memory_mb = 1;
  Engine& engine = f.Start();
  const auto status_of = [&engine](GenerateRequest request) {
    auto sink = std::make_shared<GenerateRecorder>();
    const auto id = engine.Submit(std::move(request), sink);
    return id.ok() ? sink->Wait().status : id.status();
  };
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  REQUIRE_STATUS(status_of({.prompt = std::vector<TokenId>{}}), kInvalid, "prompt is empty");
  REQUIRE_STATUS(status_of({.prompt = std::vector<TokenId>(32, 260)}), kInvalid,
                 "prompt has 32 tokens, but the context of model \"random\" is 32");
  REQUIRE_STATUS(status_of({.prompt = std::vector<TokenId>{260, 320}}), kInvalid,
                 "prompt.tokens[1] must be 0 to 319, but is 320");
  REQUIRE_STATUS(status_of({.prompt = std::vector<TokenId>{-1}}), kInvalid, "prompt.tokens[0]");
  REQUIRE_STATUS(status_of({.prompt = "a", .max_tokens = 0}), kInvalid, "max_tokens");
  REQUIRE_STATUS(status_of({.prompt = "a", .sampling = {.top_p = 2}}), kInvalid, "top_p");
  REQUIRE_STATUS(status_of({.model = "gpt-9", .prompt = "a"}), absl::StatusCode::kNotFound,
                 "loaded: random");
  GenerateRequest pinned{.prompt = "a"};
  pinned.envelope.hints.platform = Platform::kFpga;
  REQUIRE_STATUS(status_of(pinned), absl::StatusCode::kUnavailable, "fpga");
}

TEST_CASE("a deadline ends a stuck request and frees what it held") {
  EngineFixture f;
  f.AddRandomModel();
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  GenerateRequest request = EngineFixture::Scripted("hello", 20);
  request.envelope.deadline_us = SystemClock().NowUs() + 20'000;
  auto sink = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(request, sink));
  CHECK(absl::IsDeadlineExceeded(sink->Wait().status));
  CHECK(engine.InFlight() == 0);
  executor.Resume();
  prometheus::Gauge& used = f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "used"});
  prometheus::Gauge& reserved =
      f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "reserved"});
  CHECK(Eventually([&] { return used.Value() == 0 && reserved.Value() == 0; }));
}

TEST_CASE("a cancelled request ends at once, others go on") {
  EngineFixture f;
  f.AddRandomModel();
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  auto cancelled = std::make_shared<GenerateRecorder>();
  auto other = std::make_shared<GenerateRecorder>();
  const auto id = engine.Submit(EngineFixture::Scripted("hello", 20), cancelled);
  REQUIRE_OK(id);
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("world", 20), other));
  engine.Cancel(*id);
  CHECK(absl::IsCancelled(cancelled->Wait().status));
  executor.Resume();
  CHECK(other->Wait().result.generated_tokens == 20);
  engine.Cancel(*id);  // long gone
  CHECK(Eventually([&] {
    return f.metrics.Gauge(MetricId::kKvBlocks, {"random", "host", "used"}).Value() == 0;
  }));
}

TEST_CASE("a failing executor ends its requests with its error, and the engine lives") {
  EngineFixture f;
  f.AddRandomModel();
  std::atomic<bool> broken{true};
  f.AddScripted([&broken](const LlmItem& item) -> absl::StatusOr<TokenId> {
    if (broken && item.position > 10) return absl::InternalError("ECC error on bank 3");
    return Letters(item);
  });
  Engine& engine = f.Start();
  auto failing = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("hello", 20), failing));
  const auto outcome = failing->Wait();
  CHECK(outcome.status.code() == absl::StatusCode::kInternal);
  CHECK(outcome.status.message() == "ECC error on bank 3");
  broken = false;
  auto working = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("hello", 20), working));
  REQUIRE_OK(working->Wait().status);
}

TEST_CASE("queues are bounded and say which, and when to retry") {
  EngineFixture f;
  f.AddRandomModel();
  f.options.schedule.sequences_running_max = 1;
  f.options.schedule.sequences_waiting_max = 1;
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  const auto submit = [&] {
    sinks.push_back(std::make_shared<GenerateRecorder>());
    return engine.Submit(EngineFixture::Scripted("hello", 5), sinks.back()).status();
  };
  REQUIRE_OK(submit());
  REQUIRE(Eventually([&] { return executor.queued() == 1; }));
  REQUIRE_OK(submit());
  REQUIRE(Eventually(
      [&] { return f.metrics.Gauge(MetricId::kSequencesWaiting, {"random"}).Value() == 1; }));
  REQUIRE_OK(submit());  // finds the waiting line full
  const absl::Status full = sinks[2]->Wait().status;
  CHECK(absl::IsResourceExhausted(full));
  CHECK_THAT(std::string(full.message()), Catch::Contains("sequences_waiting_max"));
  REQUIRE_OK(submit());
  CHECK(absl::IsResourceExhausted(sinks[3]->Wait().status));
  executor.Resume();
  REQUIRE_OK(sinks[0]->Wait().status);
  REQUIRE_OK(sinks[1]->Wait().status);
}

TEST_CASE("more requests than may be in flight are refused at once") {
  EngineFixture f;
  f.AddRandomModel();
  f.options.queues.requests_in_flight_max = 1;
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  auto first = std::make_shared<GenerateRecorder>();
  auto second = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("hello", 5), first));
  REQUIRE_STATUS(engine.Submit(EngineFixture::Scripted("hello", 5), second),
                 absl::StatusCode::kResourceExhausted, "requests_in_flight_max: 1");
  executor.Resume();
  REQUIRE_OK(first->Wait().status);
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("hello", 5), second));
  REQUIRE_OK(second->Wait().status);
}

TEST_CASE("requests that would wait too long for their first token are refused at once") {
  EngineFixture f;
  f.AddRandomModel();
  const bool by_deadline = GENERATE(false, true);
  CAPTURE(by_deadline);
  if (!by_deadline) f.options.queues.first_token_wait_ms = 50;
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  std::vector<std::shared_ptr<GenerateRecorder>> taken;
  absl::Status refused;
  const auto submit = [&] {
    auto sink = std::make_shared<GenerateRecorder>();
    GenerateRequest request = EngineFixture::Scripted("hello", 5);
    if (by_deadline) request.envelope.deadline_us = SystemClock().NowUs() + 60'000'000;
    // The last ones have so little time that those before them would take it.
    if (by_deadline && taken.size() >= 20) {
      request.envelope.deadline_us = SystemClock().NowUs() + 2'000'000;
    }
    const absl::Status status = engine.Submit(request, sink).status();
    if (status.ok()) taken.push_back(sink);
    return status;
  };
  for (int i = 0; i < 20; ++i) REQUIRE_OK(submit());
  REQUIRE(Eventually([&] {
    refused = submit();
    return !refused.ok();
  }));
  REQUIRE_STATUS(refused, absl::StatusCode::kResourceExhausted, "requests wait for a first token");
  CHECK_THAT(std::string(refused.message()), Catch::Contains("retry in "));
  CHECK(f.metrics.Counter(MetricId::kQueueRefused, {"admission"}).Value() == 1);
  executor.Resume();
  for (size_t i = 0; i < 20; ++i) REQUIRE_OK(taken[i]->Wait().status);
  REQUIRE(Eventually([&] { return engine.InFlight() == 0; }));
  REQUIRE_OK(submit());
  taken.back()->Wait();
}

TEST_CASE("draining refuses new requests, runs old ones; the end tells who is left") {
  EngineFixture f;
  f.AddRandomModel();
  ScriptedExecutor& executor = f.AddScripted(Letters);
  Engine& engine = f.Start();
  executor.Hold();
  auto running = std::make_shared<GenerateRecorder>();
  REQUIRE_OK(engine.Submit(EngineFixture::Scripted("hello", 5), running));
  engine.BeginDrain();
  REQUIRE_STATUS(engine.Submit(EngineFixture::Scripted("hello", 5), running),
                 absl::StatusCode::kUnavailable, "shutting down");
  SECTION("it may finish") {
    executor.Resume();
    REQUIRE_OK(running->Wait().status);
  }
  SECTION("or is told") {
    std::thread([&executor] {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      executor.Resume();
    }).join();
    f.engine.reset();
    const absl::Status status = running->Wait().status;
    CHECK((status.ok() || absl::IsUnavailable(status)));
  }
}

TEST_CASE("many threads submit and cancel at random; every sink is told once") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  EngineFixture f;
  f.AddRandomModel({.dim = 32, .ffn_dim = 32, .layers = 1});
  f.options.schedule.sequences_running_max = 4;
  Engine& engine = f.Start();
  std::vector<std::shared_ptr<GenerateRecorder>> sinks[3];  // of each thread's accepted requests
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {  // asserts nothing: Catch is not thread safe
      std::mt19937 random(seed + t);
      for (int i = 0; i < 25; ++i) {
        GenerateRequest request;
        request.prompt = std::string(1 + random() % 30, 'a');
        request.max_tokens = 1 + static_cast<int32_t>(random() % 20);
        request.sampling.temperature = 1;
        request.envelope.priority = static_cast<int32_t>(random() % 3);
        if (random() % 5 == 0) {
          request.envelope.deadline_us =
              SystemClock().NowUs() + static_cast<TimeUs>(random() % 5000);
        }
        auto sink = std::make_shared<GenerateRecorder>();
        const auto id = engine.Submit(std::move(request), sink);
        if (!id.ok()) continue;
        sinks[t].push_back(std::move(sink));
        if (random() % 3 == 0) engine.Cancel(*id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& of_thread : sinks) {
    for (const auto& sink : of_thread) sink->Wait();
  }
  CHECK(engine.InFlight() == 0);
  REQUIRE_OK(engine.Progress());
}

}  // namespace
}  // namespace baton
