// Searches that arrive together, and what becomes of each where their launch fails.
#include <atomic>
#include <catch2/catch.hpp>
#include <future>

#include "tests/engine/engine/engine_fixture.h"
#include "tests/support/await.h"
#include "tests/support/scripted_search.h"

namespace baton {
namespace {

class BatchingNode : public EngineFixture {
 public:
  ScriptedSearch* gpu = nullptr;

  explicit BatchingNode(EngineOptions wanted = {}) {
    options = std::move(wanted);
    options.kv.memory_mb = 4;
    auto executor = std::make_unique<ScriptedSearch>();
    gpu = executor.get();
    AddExecutor(std::move(executor));
    Start();
    REQUIRE_OK(Call<CollectionInfo>([&](auto done) {
      return engine->SubmitCreate({.name = "c", .dimension = 2}, std::move(done));
    }));
    UpsertRequest upsert{.collection = "c"};
    upsert.points.push_back({.id = PointId(1), .vector = {1, 1}});
    REQUIRE_OK(Call<UpsertResult>(
        [&](auto done) { return engine->Submit(std::move(upsert), std::move(done)); }));
  }

  // As many searches at once; each of one query.
  std::vector<absl::StatusOr<SearchResult>> SearchAtOnce(int count, const Hints& hints = {}) {
    std::vector<std::future<absl::StatusOr<SearchResult>>> answers;
    for (int i = 0; i < count; ++i) {
      SearchRequest request{.collection = "c", .queries = {{1, 0}}};
      request.params.k = 1;
      request.envelope.hints = hints;
      auto promise = std::make_shared<std::promise<absl::StatusOr<SearchResult>>>();
      answers.push_back(promise->get_future());
      REQUIRE_OK(engine->Submit(std::move(request), [promise](absl::StatusOr<SearchResult> found) {
        promise->set_value(std::move(found));
      }));
    }
    std::vector<absl::StatusOr<SearchResult>> results;
    for (auto& answer : answers) results.push_back(Await(std::move(answer)));
    return results;
  }
};

EngineOptions Throughput() {
  EngineOptions options;
  options.batching.search_single = {
      .strategy = "high_throughput", .wait_us_max = 10'000'000, .items_max = 8};
  return options;
}

TEST_CASE("searches that come together are one launch") {
  BatchingNode node(Throughput());
  for (const auto& result : node.SearchAtOnce(8, {.platform = Platform::kGpu})) {
    REQUIRE_OK(result);
    CHECK(result->results.size() == 1);
    CHECK(result->timings.stages.at(0).items == 1);
    CHECK(result->timings.stages.at(0).run_us == 1000);
  }
  CHECK(node.gpu->searches() == 1);
}

TEST_CASE("a launch that fails is done again by each of its requests") {
  BatchingNode node(Throughput());
  node.gpu->FailNext(1);
  const auto results =
      node.SearchAtOnce(8, {.platform = Platform::kGpu, .fallback = Fallback::kCpu});
  for (const auto& result : results) {
    REQUIRE_OK(result);
    CHECK(result->results.at(0).size() == 1);  // the CPU finds the point
    CHECK(result->timings.stages.at(0).route.platform == Platform::kCpu);
  }
}

TEST_CASE("a search waits for company no longer than its deadline allows") {
  BatchingNode node(Throughput());
  SearchRequest request{.collection = "c", .queries = {{1, 0}}};
  request.params.k = 1;
  request.envelope.hints.platform = Platform::kGpu;
  request.envelope.deadline_us = SystemClock().NowUs() + 400'000;
  const auto result = Call<SearchResult>(
      [&](auto done) { return node.engine->Submit(std::move(request), std::move(done)); });
  REQUIRE_OK(result);
  CHECK(node.gpu->searches() == 1);
}

TEST_CASE("a search that ends while it waits is not launched") {
  BatchingNode node(Throughput());
  auto answer = std::make_shared<std::promise<absl::Status>>();
  SearchRequest request{.collection = "c", .queries = {{1, 0}}};
  request.params.k = 1;
  request.envelope.hints.platform = Platform::kGpu;
  const auto id = node.engine->Submit(
      std::move(request),
      [answer](absl::StatusOr<SearchResult> result) { answer->set_value(result.status()); });
  REQUIRE_OK(id);
  node.engine->Cancel(*id);
  CHECK(absl::IsCancelled(Await(answer->get_future())));
  // It was one of the eight, or came first.
  for (const auto& result : node.SearchAtOnce(7, {.platform = Platform::kGpu})) REQUIRE_OK(result);
  CHECK(node.gpu->searches() == 1);
}

// The CPU, which counts the batches that it embeds.
class CountingEmbed final : public Executor, public EmbedSkill {
 public:
  explicit CountingEmbed(std::unique_ptr<Executor> cpu) : cpu_(std::move(cpu)) {}
  const ExecutorInfo& Describe() const override { return cpu_->Describe(); }
  ExecutorSample Sample() const override { return cpu_->Sample(); }
  LlmSkill* llm() override { return cpu_->llm(); }
  SearchSkill* search() override { return cpu_->search(); }
  EmbedSkill* embed() override { return this; }
  ClusterSkill* cluster() override { return cpu_->cluster(); }
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }
  std::string Unable(const Embedder&) const override { return ""; }
  int64_t ModelBytes(const TextEncoder& encoder) const override {
    return cpu_->embed()->ModelBytes(encoder);
  }
  absl::Status LoadModel(std::shared_ptr<const TextEncoder> encoder) override {
    return cpu_->embed()->LoadModel(std::move(encoder));
  }
  void UnloadModel(const TextEncoder& encoder) override { cpu_->embed()->UnloadModel(encoder); }
  void Execute(EmbedBatch batch, absl::AnyInvocable<void(EmbedBatchResult)> done) override {
    ++batches;
    cpu_->embed()->Execute(std::move(batch), std::move(done));
  }

  std::atomic<int> batches{0};

 private:
  const std::unique_ptr<Executor> cpu_;
};

TEST_CASE("texts that come together are one launch, and each request gets its own") {
  EngineFixture f;
  SimulatedDeviceOptions gpu{.name = "gpu0", .platform = Platform::kGpu};
  gpu.latency[static_cast<size_t>(WorkClass::kEmbed)] = {.fixed_us = 300, .per_item_us = 1};
  f.simulation.devices = {gpu};
  f.options.batching.embed = {
      .strategy = "high_throughput", .wait_us_max = 10'000'000, .items_max = 12};
  CountingEmbed* counts = nullptr;
  f.wrap_cpu = [&counts](std::unique_ptr<Executor> cpu) {
    auto wrapped = std::make_unique<CountingEmbed>(std::move(cpu));
    counts = wrapped.get();
    return wrapped;
  };
  Engine& engine = f.Start();
  const auto submit = [&](std::vector<std::string> texts, Platform platform) {
    EmbedRequest request{.texts = std::move(texts)};
    request.envelope.hints.platform = platform;
    auto promise = std::make_shared<std::promise<absl::StatusOr<EmbedResult>>>();
    auto answer = promise->get_future();
    REQUIRE_OK(engine.Submit(std::move(request), [promise](absl::StatusOr<EmbedResult> result) {
      promise->set_value(std::move(result));
    }));
    return answer;
  };
  const auto texts_of = [](int i) {
    std::vector<std::string> texts = {"text " + std::to_string(i)};
    if (i % 2 == 1) texts.push_back("another " + std::to_string(i));
    return texts;
  };
  std::vector<std::future<absl::StatusOr<EmbedResult>>> answers;
  for (int i = 0; i < 8; ++i) answers.push_back(submit(texts_of(i), Platform::kGpu));  // 12 texts
  std::vector<EmbedResult> results;
  for (auto& answer : answers) {
    auto result = Await(std::move(answer));
    REQUIRE_OK(result);
    results.push_back(*std::move(result));
  }
  CHECK(counts->batches == 1);
  for (int i = 0; i < 8; ++i) {
    const auto alone = Await(submit(texts_of(i), Platform::kCpu));
    REQUIRE_OK(alone);
    CHECK(results[static_cast<size_t>(i)].embeddings == alone->embeddings);
    CHECK(results[static_cast<size_t>(i)].timings.stages.at(0).items ==
          static_cast<int64_t>(texts_of(i).size()));
  }
  CHECK(counts->batches == 9);
}

TEST_CASE("an idle device is not waited for") {
  BatchingNode node;  // adaptive
  for (int i = 0; i < 3; ++i) {
    for (const auto& result : node.SearchAtOnce(1, {.platform = Platform::kGpu})) {
      REQUIRE_OK(result);
    }
  }
  CHECK(node.gpu->searches() == 3);
}

}  // namespace
}  // namespace baton
