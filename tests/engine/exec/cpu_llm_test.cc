#include "engine/exec/cpu/cpu_llm.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/engine/exec/forward_harness.h"
#include "tests/support/fake_clock.h"

namespace baton {
namespace {

constexpr SlotId kSlot{0};

// A model in a CpuLlm, and one sequence's way through it.
struct Fixture {
  explicit Fixture(CpuLlmOptions options = {.threads = 2}, const Clock& clock = SystemClock())
      : model(RandomModel({})),
        layout(LayoutOf(model->shape(), 8)),
        llm(options, KernelsFor(DetectedSimdLevel()), clock) {
    REQUIRE_OK(llm.LoadModel(model));
  }

  // Opens that many slots, from the first; the blocks of a sequence in each.
  std::vector<SequenceBlocks> Open(int32_t slots, const SamplingParams& sampling) {
    std::vector<SequenceBlocks> blocks;
    for (int32_t s = 0; s < slots; ++s) {
      blocks.emplace_back(layout, 64);
      llm.OpenSlot(SlotId(s), {.sampler = {.params = sampling}});
    }
    return blocks;
  }
  LlmItem Prefill(SlotId slot, SequenceBlocks& blocks, std::vector<TokenId> tokens,
                  int32_t position = 0, bool sample = true) const {
    LlmItem item;
    item.sequence = SequenceId(static_cast<uint64_t>(slot.value()) + 100);
    item.slot = slot;
    item.work_class = WorkClass::kPrefill;
    item.position = position;
    item.tokens = std::move(tokens);
    item.blocks = blocks.blocks;
    item.sample = sample;
    return item;
  }
  LlmItem Decode(SlotId slot, SequenceBlocks& blocks, int32_t position) const {
    LlmItem item = Prefill(slot, blocks, {}, position);
    item.work_class = WorkClass::kDecode;
    return item;
  }
  std::future<LlmBatchResult> Submit(
      std::vector<LlmItem> items, std::optional<TimeUs> pause_after_us = {},
      std::function<void()> on_done = [] {}, bool overtakes = false) {
    auto promise = std::make_shared<std::promise<LlmBatchResult>>();
    auto future = promise->get_future();
    llm.Execute({.model = model,
                 .layout = layout,
                 .items = std::move(items),
                 .pause_after_us = pause_after_us,
                 .overtakes = overtakes},
                [promise, on_done](LlmBatchResult result) {
                  on_done();
                  promise->set_value(std::move(result));
                });
    return future;
  }
  LlmBatchResult Run(std::vector<LlmItem> items) { return Submit(std::move(items)).get(); }

  std::shared_ptr<const LanguageModel> model;
  KvLayout layout;
  CpuLlm llm;
};

SamplingParams Seeded(float temperature) {
  SamplingParams sampling;
  sampling.temperature = temperature;
  sampling.seed = 7;
  return sampling;
}

// The tokens that a prompt generates by hand: the forward pass and a sampler.
std::vector<TokenId> ByHand(const Fixture& fixture, std::vector<TokenId> tokens,
                            const SamplingParams& sampling, int count) {
  ThreadTeam team(1);
  DecoderForward forward(fixture.model, KernelsFor(DetectedSimdLevel()), team, 64);
  SequenceBlocks blocks(fixture.layout, 64);
  Sampler sampler({.params = sampling});
  std::vector<TokenId> generated;
  int32_t position = 0;
  for (int i = 0; i < count; ++i) {
    const auto logits =
        LogitsAfter(forward, fixture.layout, blocks, tokens, position, /*generated=*/i > 0 ? 1 : 0);
    position += static_cast<int32_t>(tokens.size());
    generated.push_back(sampler.Sample(logits));
    tokens = {generated.back()};
  }
  return generated;
}

// Keeps the executor's thread inside a `done` until released.
class Plug {
 public:
  explicit Plug(Fixture& fixture) {
    fixture.llm.Execute({.model = fixture.model, .layout = fixture.layout, .items = {}},
                        [this](const LlmBatchResult&) {
                          reached_.set_value();
                          release_.get_future().wait();
                        });
    reached_.get_future().wait();
  }
  void Release() { release_.set_value(); }

 private:
  std::promise<void> reached_;
  std::promise<void> release_;
};

}  // namespace

TEST_CASE("prefill and decodes generate what the forward pass and a sampler do by hand") {
  const float temperature = GENERATE(0.0f, 1.0f);
  Fixture f;
  const std::vector<TokenId> prompt = {5, 9, 100, 42, 7};
  const auto want = ByHand(f, prompt, Seeded(temperature), 6);
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(temperature)}});
  SequenceBlocks blocks(f.layout, 64);

  // All submitted at once: a decode's token is not known yet when its batch is.
  std::vector<std::future<LlmBatchResult>> results;
  results.push_back(f.Submit({f.Prefill(kSlot, blocks, {5, 9, 100}, 0, /*sample=*/false)}));
  results.push_back(f.Submit({f.Prefill(kSlot, blocks, {42, 7}, 3)}));
  for (int32_t i = 0; i < 5; ++i) results.push_back(f.Submit({f.Decode(kSlot, blocks, 5 + i)}));
  f.llm.CloseSlot(kSlot);

  const LlmBatchResult first = results[0].get();
  REQUIRE_OK(first.status);
  REQUIRE(first.items.size() == 1);
  REQUIRE(first.items[0].sequence == SequenceId(100));
  REQUIRE(first.items[0].tokens.empty());
  for (size_t i = 0; i < want.size(); ++i) {
    CAPTURE(i);
    const LlmBatchResult result = results[i + 1].get();
    REQUIRE_OK(result.status);
    REQUIRE(result.items.at(0).tokens == std::vector{want[i]});
  }
  REQUIRE_STATUS(f.Run({f.Decode(kSlot, blocks, 10)}).status, absl::StatusCode::kInternal,
                 "slot 0 is not open");
}

TEST_CASE("guesses change nothing but how many tokens a step gives") {
  const float temperature = GENERATE(0.0f, 1.0f);
  const int right = GENERATE(0, 1, 3, 4);  // guesses of 4 before the first wrong one
  Fixture f;
  const std::vector<TokenId> prompt = {5, 9, 100, 42, 7};
  const auto want = ByHand(f, prompt, Seeded(temperature), 8);
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(temperature)}});
  SequenceBlocks blocks(f.layout, 64);
  REQUIRE_OK(f.Run({f.Prefill(kSlot, blocks, prompt)}).status);

  LlmItem decode = f.Decode(kSlot, blocks, 5);
  decode.tokens.assign(want.begin() + 1, want.begin() + 5);
  if (right < 4) decode.tokens[right] = (decode.tokens[right] + 1) % f.model->shape().vocabulary;
  const LlmBatchResult drafted = f.Run({decode});
  REQUIRE_OK(drafted.status);
  const std::vector<TokenId> accepted(want.begin() + 1, want.begin() + 2 + right);
  REQUIRE(drafted.items.at(0).tokens == accepted);

  const auto next = static_cast<int32_t>(accepted.size());
  const LlmBatchResult after = f.Run({f.Decode(kSlot, blocks, 5 + next)});
  REQUIRE_OK(after.status);
  REQUIRE(after.items.at(0).tokens == std::vector{want[1 + next]});
}

TEST_CASE("sequences in one batch do not see each other") {
  Fixture f;
  const std::vector<std::vector<TokenId>> prompts = {{1, 2, 3}, {200}, {9, 8, 7, 6, 5, 4}};
  std::vector<SequenceBlocks> blocks = f.Open(3, Seeded(0.8f));
  std::vector<LlmItem> items;
  for (int32_t s = 0; s < 3; ++s) {
    items.push_back(f.Prefill(SlotId(s), blocks[s], prompts[s]));
  }
  const LlmBatchResult prefill = f.Run(std::move(items));
  REQUIRE_OK(prefill.status);
  items.clear();
  for (int32_t s = 2; s >= 0; --s) {
    items.push_back(f.Decode(SlotId(s), blocks[s], static_cast<int32_t>(prompts[s].size())));
  }
  const LlmBatchResult decode = f.Run(std::move(items));
  REQUIRE_OK(decode.status);
  for (size_t s = 0; s < 3; ++s) {
    const auto want = ByHand(f, prompts[s], Seeded(0.8f), 2);
    REQUIRE(prefill.items[s].tokens == std::vector{want[0]});
    REQUIRE(decode.items[2 - s].sequence == SequenceId(100 + s));
    REQUIRE(decode.items[2 - s].tokens == std::vector{want[1]});
  }
}

TEST_CASE("a slot opened with another executor's last token continues from it") {
  Fixture f;
  const auto want = ByHand(f, {3, 4}, Seeded(0), 1);
  SequenceBlocks blocks(f.layout, 64);
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(0)}});
  REQUIRE_OK(f.Run({f.Prefill(kSlot, blocks, {3}, 0, /*sample=*/false)}).status);
  REQUIRE_STATUS(f.Run({f.Decode(kSlot, blocks, 1)}).status, absl::StatusCode::kInternal,
                 "slot 0 has no token");
  f.llm.CloseSlot(kSlot);
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(0), .generated = {4}}});
  const LlmBatchResult result = f.Run({f.Decode(kSlot, blocks, 1)});
  REQUIRE_OK(result.status);
  REQUIRE(result.items[0].tokens == std::vector{want[0]});
}

TEST_CASE("logits that are not finite fail the batch and name the model") {
  Fixture f;
  SequenceBlocks blocks(f.layout, 64);
  std::fill(blocks.memory.begin(), blocks.memory.end(),
            std::byte{0xff});  // NaN: an earlier position gone bad
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(0), .generated = {4}}});
  const LlmBatchResult result = f.Run({f.Decode(kSlot, blocks, 3)});
  REQUIRE_STATUS(result.status, absl::StatusCode::kInternal,
                 "model random gave logits that are not finite");
  REQUIRE(result.items.empty());
  SequenceBlocks good(f.layout, 64);
  REQUIRE_OK(f.Run({f.Prefill(kSlot, good, {1, 2})}).status);
}

TEST_CASE("a batch for a model that was not loaded, or that does not fit, is refused") {
  Fixture f;
  SequenceBlocks blocks(f.layout, 64);
  f.llm.OpenSlot(kSlot, {.sampler = {.params = Seeded(0)}});
  REQUIRE_STATUS(f.Run({f.Prefill(kSlot, blocks, {4000})}).status,
                 absl::StatusCode::kInvalidArgument, "token 4000");
  f.model = RandomModel({.seed = 2});
  REQUIRE_STATUS(f.Run({f.Prefill(kSlot, blocks, {4})}).status, absl::StatusCode::kInternal,
                 "not loaded");
}

TEST_CASE("batches beyond the queue are refused, the others still run") {
  Fixture f({.threads = 1, .queue_batches = 3});
  Plug plug(f);
  REQUIRE(f.llm.queue_depth() == 0);  // the plug's batch has run
  std::vector<std::future<LlmBatchResult>> waiting;
  for (int i = 0; i < 3; ++i) waiting.push_back(f.Submit({}));
  REQUIRE(f.llm.queue_depth() == 3);
  REQUIRE_STATUS(f.Run({}).status, absl::StatusCode::kResourceExhausted, "3 batches");
  plug.Release();
  for (auto& result : waiting) REQUIRE_OK(result.get().status);
}

TEST_CASE("destruction answers what waits") {
  std::future<LlmBatchResult> waiting;
  std::thread releaser;
  {
    Fixture f;
    auto plug = std::make_unique<Plug>(f);
    waiting = f.Submit({});
    releaser = std::thread([plug = std::move(plug)] {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));  // destruction has begun by then
      plug->Release();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    });
  }
  REQUIRE_STATUS(waiting.get().status, absl::StatusCode::kCancelled, "shutting down");
  releaser.join();
}

TEST_CASE("queue and run times are told apart") {
  FakeClock clock;
  Fixture f({.threads = 1}, clock);
  Plug plug(f);
  auto result = f.Submit({});
  clock.AdvanceUs(1234);
  plug.Release();
  const LlmBatchResult got = result.get();
  REQUIRE(got.times.queue_us == 1234);
  REQUIRE(got.times.run_us == 0);
}

TEST_CASE("a batch that pauses lets those behind it go first") {
  // On a clock that stands still: at once, or never before it is done, but for prompts.
  const TimeUs pause_after_us = GENERATE(0, 1000);
  const bool prompts = GENERATE(false, true);
  CAPTURE(pause_after_us, prompts);
  FakeClock clock;
  Fixture f({.threads = 1}, clock);
  REQUIRE(f.llm.Pauses());
  const std::vector<TokenId> prompt = {5, 9, 100, 42, 7};
  std::vector<SequenceBlocks> blocks = f.Open(4, Seeded(0));
  REQUIRE_OK(f.Run({f.Prefill(SlotId(1), blocks[1], prompt)}).status);

  std::string order;  // of the executor's thread
  const auto submit = [&](char name, LlmItem item, std::optional<TimeUs> after = {}) {
    return f.Submit({std::move(item)}, after, [&order, &clock, name] {
      order += name;
      clock.AdvanceUs(500);  // between two batches, and within a pause
    });
  };
  Plug plug(f);
  auto a = submit('a', f.Prefill(SlotId(0), blocks[0], prompt), pause_after_us);
  auto b = submit('b', f.Decode(SlotId(1), blocks[1], 5));
  auto c = submit('c', f.Prefill(SlotId(2), blocks[2], prompt), pause_after_us);
  auto d = submit(
      'd', prompts ? f.Prefill(SlotId(3), blocks[3], prompt) : f.Decode(SlotId(1), blocks[1], 6));
  plug.Release();
  const auto want = ByHand(f, prompt, Seeded(0), 3);
  const LlmBatchResult paused = a.get();
  REQUIRE_OK(paused.status);
  CHECK(paused.items.at(0).tokens == std::vector{want[0]});
  CHECK(b.get().items.at(0).tokens == std::vector{want[1]});
  CHECK(c.get().items.at(0).tokens == std::vector{want[0]});
  CHECK(d.get().items.at(0).tokens == std::vector{want[prompts ? 0 : 2]});
  const bool pauses = pause_after_us == 0 || prompts;
  CHECK(order == (pauses ? "bdac" : "abcd"));
  CHECK(paused.times.run_us == 0);
}

TEST_CASE("a batch that overtakes pauses for the others itself, and takes half of the time") {
  FakeClock clock;
  Fixture f({.threads = 1}, clock);
  const std::vector<TokenId> prompt = {5, 9, 100, 42, 7};
  std::vector<SequenceBlocks> blocks = f.Open(3, Seeded(0));
  blocks.emplace_back(f.layout, 64);
  REQUIRE_OK(f.Run({f.Prefill(SlotId(1), blocks[1], prompt)}).status);
  std::string order;
  std::vector<std::future<LlmBatchResult>> results;
  const auto submit = [&](char name, LlmItem item, std::optional<TimeUs> after, bool overtakes,
                          TimeUs takes_us) {
    results.push_back(f.Submit(
        {std::move(item)}, after,
        [&order, &clock, name, takes_us] {
          order += name;
          clock.AdvanceUs(takes_us);
        },
        overtakes));
  };
  Plug plug(f);
  submit('a', f.Prefill(SlotId(0), blocks[0], prompt), 0, false, 0);
  submit('b', f.Prefill(SlotId(2), blocks[2], prompt), 0, true, 500);
  submit('c', f.Decode(SlotId(1), blocks[1], 5), {}, false, 0);
  // It has had its half when the clock stands still again.
  f.llm.OpenSlot(SlotId(3), {.sampler = {.params = Seeded(0)}});
  submit('d', f.Prefill(SlotId(3), blocks[3], prompt), 0, true, 0);
  plug.Release();
  const auto want = ByHand(f, prompt, Seeded(0), 2);
  for (size_t i = 0; i < results.size(); ++i) {
    const LlmBatchResult result = results[i].get();
    REQUIRE_OK(result.status);
    CHECK(result.items.at(0).tokens == std::vector{want[i == 2 ? 1 : 0]});
  }
  CHECK(order == "cbad");
}

TEST_CASE("behind prompts a batch that pauses does so after its next part") {
  FakeClock clock;
  Fixture f({.threads = 1}, clock);
  const std::vector<TokenId> prompt = {5, 9, 100, 42, 7};
  std::vector<SequenceBlocks> blocks = f.Open(3, Seeded(0));
  REQUIRE_OK(f.Run({f.Prefill(SlotId(1), blocks[1], prompt)}).status);
  std::string order;
  std::future<LlmBatchResult> decode;
  Plug plug(f);
  auto pausing = f.Submit({f.Prefill(SlotId(0), blocks[0], prompt)}, 1000, [&] { order += 'a'; });
  auto short_prompt = f.Submit({f.Prefill(SlotId(2), blocks[2], prompt)}, {}, [&] {
    order += 'b';
    decode = f.Submit({f.Decode(SlotId(1), blocks[1], 5)}, {}, [&] { order += 'c'; });
  });
  plug.Release();
  REQUIRE_OK(pausing.get().status);
  REQUIRE_OK(short_prompt.get().status);
  REQUIRE_OK(decode.get().status);
  CHECK(order == "bca");
}

TEST_CASE("the CPU keeps its KV blocks in host memory") {
  Fixture f;
  REQUIRE(f.llm.kv_space() == MemorySpace{.kind = MemorySpace::Kind::kHost});
}

}  // namespace baton
