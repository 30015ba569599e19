#include "engine/exec/cpu/cpu_embed.h"

#include <catch2/catch.hpp>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Vectors that tell the texts apart; each text takes 10 us on `clock`. A text "wait" blocks.
class StubEmbedder final : public Embedder {
 public:
  explicit StubEmbedder(FakeClock* clock) : clock_(clock) {}
  const std::string& name() const override { return name_; }
  Kind kind() const override { return Kind::kLexical; }
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
  std::unique_ptr<CpuEmbed> embed =
      std::make_unique<CpuEmbed>(CpuEmbedOptions{.threads = 1, .queue_batches = 2}, clock);
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

}  // namespace baton
