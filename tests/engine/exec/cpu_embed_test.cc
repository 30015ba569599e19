#include "engine/exec/cpu/cpu_embed.h"

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/encoder_file.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Vectors that tell the texts apart; each text takes 10 us on `clock`. A text "wait" blocks.
class StubEmbedder final : public LexicalEmbedder {
 public:
  explicit StubEmbedder(FakeClock* clock) : clock_(clock) {}
  const std::string& name() const override { return name_; }
  int32_t dimension() const override { return 2; }
  void Embed(std::string_view text, std::span<float> out) const override {
    if (text == "wait") {
      reached.set_value();
      release.get_future().wait();
    }
    clock_->AdvanceUs(10);
    out[0] = static_cast<float>(text.size());
    out[1] = 1;
  }
  mutable std::promise<void> reached;
  mutable std::promise<void> release;

 private:
  FakeClock* clock_;
  std::string name_ = "stub";
};

struct Fixture {
  std::future<EmbedBatchResult> Submit(std::vector<std::string> texts,
                                       TimeUs deadline_us = kNoDeadline) {
    auto promise = std::make_shared<std::promise<EmbedBatchResult>>();
    auto future = promise->get_future();
    embed->Execute({.embedder = embedder, .texts = std::move(texts), .deadline_us = deadline_us},
                   [promise](EmbedBatchResult result) { promise->set_value(std::move(result)); });
    return future;
  }
  FakeClock clock;
  std::shared_ptr<StubEmbedder> embedder = std::make_shared<StubEmbedder>(&clock);
  std::unique_ptr<CpuEmbed> embed = std::make_unique<CpuEmbed>(
      CpuEmbedOptions{.threads = 1, .queue_batches = 2}, KernelsFor(SimdLevel::kBaseline), clock);
};

}  // namespace

TEST_CASE("texts become vectors in their order and come back") {
  Fixture f;
  const EmbedBatchResult result = f.Submit({"a", "bbb", ""}).get();
  REQUIRE_OK(result.status);
  REQUIRE(result.embeddings == std::vector<std::vector<float>>{{1, 1}, {3, 1}, {0, 1}});
  REQUIRE(result.texts == std::vector<std::string>{"a", "bbb", ""});
  REQUIRE(result.times.run_us == 30);
  REQUIRE(f.Submit({}).get().embeddings.empty());
}

TEST_CASE("the deadline is polled between texts") {
  Fixture f;
  const EmbedBatchResult result = f.Submit({"a", "b", "c", "d"}, f.clock.NowUs() + 15).get();
  REQUIRE_STATUS(result.status, absl::StatusCode::kDeadlineExceeded, "text 2 of 4");
  REQUIRE(result.embeddings.empty());
  REQUIRE(result.texts.size() == 4);
}

TEST_CASE("a full queue refuses and hands the texts back; the rest still runs") {
  Fixture f;
  auto running = f.Submit({"wait"});
  f.embedder->reached.get_future().wait();
  auto second = f.Submit({"a"});
  auto third = f.Submit({"b"});
  REQUIRE(f.embed->queue_depth() == 3);
  const EmbedBatchResult refused = f.Submit({"c"}).get();
  REQUIRE_STATUS(refused.status, absl::StatusCode::kResourceExhausted, "2 batches");
  REQUIRE(refused.texts == std::vector<std::string>{"c"});
  f.embedder->release.set_value();
  REQUIRE_OK(running.get().status);
  REQUIRE_OK(second.get().status);
  REQUIRE_OK(third.get().status);
  REQUIRE(f.embed->queue_depth() == 0);
}

TEST_CASE("destruction finishes what runs and answers what waits") {
  Fixture f;
  auto running = f.Submit({"wait"});
  f.embedder->reached.get_future().wait();
  auto waiting = f.Submit({"a"});
  auto destroyed = std::async(std::launch::async, [&f] { f.embed.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // destruction has begun by then
  f.embedder->release.set_value();
  destroyed.get();
  REQUIRE_OK(running.get().status);
  REQUIRE_STATUS(waiting.get().status, absl::StatusCode::kCancelled, "shutting down");
}

namespace {

std::shared_ptr<const TextEncoder> LoadEncoder(const RandomEncoderOptions& options) {
  const TempFile file(RandomEncoderBytes(options));
  auto encoder = LoadTextEncoder("random", file.path());
  REQUIRE_OK(encoder);
  return *std::move(encoder);
}

std::future<EmbedBatchResult> Submit(CpuEmbed& embed, std::shared_ptr<const Embedder> embedder,
                                     std::vector<std::string> texts,
                                     TimeUs deadline_us = kNoDeadline) {
  auto promise = std::make_shared<std::promise<EmbedBatchResult>>();
  auto future = promise->get_future();
  embed.Execute(
      {.embedder = std::move(embedder), .texts = std::move(texts), .deadline_us = deadline_us},
      [promise](EmbedBatchResult result) { promise->set_value(std::move(result)); });
  return future;
}

}  // namespace

TEST_CASE("an encoder's texts share steps, and come out as they would alone") {
  FakeClock clock;
  const auto encoder = LoadEncoder({});
  CpuEmbed embed({.threads = 2, .queue_batches = 64}, KernelsFor(DetectedSimdLevel()), clock);
  REQUIRE_OK(embed.LoadModel(encoder));
  REQUIRE_OK(embed.LoadModel(encoder));
  // More tokens than a step takes, in batches of different sizes that are there at once.
  std::vector<std::vector<std::string>> batches;
  for (size_t size : {1, 40, 0, 3, 100, 1}) {
    std::vector<std::string>& texts = batches.emplace_back();
    for (size_t i = 0; i < size; ++i) {
      std::string text = "the tower of number " + std::to_string(size) + std::to_string(i);
      if (i % 7 == 3) text = "";
      if (i % 7 == 5) text.append(1000, 'x');
      texts.push_back(text);
    }
  }
  std::vector<std::future<EmbedBatchResult>> futures;
  for (const auto& texts : batches) futures.push_back(Submit(embed, encoder, texts));
  for (size_t b = 0; b < batches.size(); ++b) {
    const EmbedBatchResult result = futures[b].get();
    REQUIRE_OK(result.status);
    REQUIRE(result.texts == batches[b]);
    REQUIRE(result.embeddings.size() == batches[b].size());
    for (size_t i = 0; i < batches[b].size(); i += 13) {
      const EmbedBatchResult alone = Submit(embed, encoder, {batches[b][i]}).get();
      REQUIRE_OK(alone.status);
      CHECK(alone.embeddings[0] == result.embeddings[i]);
    }
  }
  REQUIRE(embed.queue_depth() == 0);
  // The lexical one beside it.
  const EmbedBatchResult lexical = Submit(embed, MakeLexicalEmbedder(32), {"a"}).get();
  REQUIRE_OK(lexical.status);
  CHECK(lexical.embeddings[0].size() == 32);
}

TEST_CASE("an encoder or reranker that was warmed up answers as a cold one does") {
  const bool scores = GENERATE(false, true);
  RandomEncoderOptions shape;
  if (scores) shape.pooling = 4;
  const auto encoder = LoadEncoder(shape);
  FakeClock clock;
  std::vector<std::vector<std::vector<float>>> answers;
  for (const bool warm_up : {false, true}) {
    CpuEmbed embed({.threads = 2, .queue_batches = 1, .warm_up = warm_up},
                   KernelsFor(SimdLevel::kBaseline), clock);
    REQUIRE_OK(embed.LoadModel(encoder));
    CHECK(embed.queue_depth() == 0);
    EmbedBatch batch = {.embedder = encoder, .texts = {"the cat sat", "a dog"}};
    if (scores) batch.query = "who sat";
    auto promise = std::make_shared<std::promise<EmbedBatchResult>>();
    auto future = promise->get_future();
    embed.Execute(std::move(batch),
                  [promise](EmbedBatchResult result) { promise->set_value(std::move(result)); });
    EmbedBatchResult result = future.get();
    REQUIRE_OK(result.status);
    answers.push_back(std::move(result.embeddings));
  }
  CHECK(answers[0] == answers[1]);
}

TEST_CASE("several encoders embed side by side, each as if alone, and leave when they are done") {
  FakeClock clock;
  CpuEmbed embed({.threads = 2, .queue_batches = 64}, KernelsFor(DetectedSimdLevel()), clock);
  std::shared_ptr<const TextEncoder> encoders[] = {LoadEncoder({}),
                                                   LoadEncoder({.dim = 96, .heads = 3, .seed = 2})};
  const std::vector<std::string> texts = {"the tower", "of number 7", "", "is the ferry"};
  std::vector<std::vector<float>> alone[2];
  for (int i : {0, 1}) {
    REQUIRE_OK(embed.LoadModel(encoders[i]));
    const EmbedBatchResult result = Submit(embed, encoders[i], texts).get();
    REQUIRE_OK(result.status);
    alone[i] = result.embeddings;
  }
  REQUIRE(alone[0][0].size() == 64);
  REQUIRE(alone[1][0].size() == 96);

  std::vector<std::future<EmbedBatchResult>> futures;
  for (int i = 0; i < 40; ++i) futures.push_back(Submit(embed, encoders[i % 2], texts));
  // Unloading waits for the batches that there are, and holds nothing then.
  std::thread unloading([&] { embed.UnloadModel(*encoders[1]); });
  for (int i = 0; i < 40; ++i) {
    const EmbedBatchResult result = futures[static_cast<size_t>(i)].get();
    REQUIRE_OK(result.status);
    REQUIRE(result.embeddings == alone[i % 2]);
  }
  unloading.join();
  const std::weak_ptr<const TextEncoder> gone = encoders[1];
  REQUIRE_STATUS(Submit(embed, encoders[1], texts).get().status, absl::StatusCode::kInternal,
                 "not loaded");
  encoders[1].reset();
  CHECK(gone.expired());
  CHECK(Submit(embed, encoders[0], texts).get().embeddings == alone[0]);
  embed.UnloadModel(*LoadEncoder({}));  // one that it never had
}

TEST_CASE("an encoder's batches are refused and ended with reasons") {
  FakeClock clock;
  const auto encoder = LoadEncoder({});
  auto embed = std::make_unique<CpuEmbed>(CpuEmbedOptions{.threads = 1, .queue_batches = 2},
                                          KernelsFor(SimdLevel::kBaseline), clock);
  const EmbedBatchResult unknown = Submit(*embed, encoder, {"a"}).get();
  REQUIRE_STATUS(unknown.status, absl::StatusCode::kInternal, "not loaded");
  REQUIRE(unknown.texts == std::vector<std::string>{"a"});
  REQUIRE_OK(embed->LoadModel(encoder));
  REQUIRE_STATUS(Submit(*embed, encoder, {"a", "b"}, clock.NowUs()).get().status,
                 absl::StatusCode::kDeadlineExceeded, "text 0 of 2");

  // The thread is held in the first batch's `done`; two more make the queue full.
  std::promise<void> reached;
  std::promise<void> release;
  embed->Execute({.embedder = encoder, .texts = {"a"}}, [&](EmbedBatchResult) {
    reached.set_value();
    release.get_future().wait();
  });
  reached.get_future().wait();
  auto second = Submit(*embed, encoder, {"b"});
  auto third = Submit(*embed, encoder, {"c"});
  const EmbedBatchResult refused = Submit(*embed, encoder, {"d"}).get();
  REQUIRE_STATUS(refused.status, absl::StatusCode::kResourceExhausted, "2 batches");
  REQUIRE(refused.texts == std::vector<std::string>{"d"});
  REQUIRE(embed->queue_depth() == 2);
  auto destroyed = std::async(std::launch::async, [&embed] { embed.reset(); });
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // destruction has begun by then
  release.set_value();
  destroyed.get();
  REQUIRE_STATUS(second.get().status, absl::StatusCode::kCancelled, "shutting down");
  REQUIRE_STATUS(third.get().status, absl::StatusCode::kCancelled, "shutting down");
}

}  // namespace baton
