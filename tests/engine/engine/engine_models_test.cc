#include <catch2/catch.hpp>
#include <filesystem>
#include <future>
#include <thread>

#include "engine/engine.h"
#include "prometheus/text_serializer.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

using Code = absl::StatusCode;

// An engine whose models come from a directory while it runs.
struct ModelsFixture : EngineFixture {
  TempDir dir;

  ModelsFixture() {
    options.repository.directory = dir.path();
    dir.Write("one.gguf", RandomModelBytes({}));
    dir.Write("two.gguf", RandomModelBytes({.layers = 3, .seed = 2}));
    dir.Write("q8.gguf", RandomModelBytes({.type = TensorType::kQ8_0, .seed = 3}));
    dir.Write("encoder.gguf", RandomEncoderBytes({}));
    dir.Write("broken.gguf", RandomModelBytes({}).substr(0, 10'000));
  }

  absl::StatusOr<ModelReport> Load(const std::string& name, const std::string& path) {
    LoadModelRequest request;
    request.name = name;
    request.path = path;
    return Call<ModelReport>(
        [&](Done<ModelReport> done) { return engine->Submit(request, std::move(done)); });
  }

  std::future<absl::StatusOr<ModelReport>> BeginUnload(const std::string& name,
                                                       TimeUs drain_us = 30'000'000) {
    UnloadModelRequest request;
    request.name = name;
    request.drain_us = drain_us;
    auto promise = std::make_shared<std::promise<absl::StatusOr<ModelReport>>>();
    const auto id = engine->Submit(request, [promise](absl::StatusOr<ModelReport> report) {
      promise->set_value(std::move(report));
    });
    if (!id.ok()) promise->set_value(id.status());
    return promise->get_future();
  }
  absl::StatusOr<ModelReport> Unload(const std::string& name, TimeUs drain_us = 30'000'000) {
    return Await(BeginUnload(name, drain_us));
  }

  std::shared_ptr<GenerateRecorder> Begin(const std::string& model, int32_t max_tokens) {
    GenerateRequest request;
    request.model = model;
    request.prompt = "the cat sat";
    request.max_tokens = max_tokens;
    request.ignore_eos = true;
    auto sink = std::make_shared<GenerateRecorder>();
    const auto id = engine->Submit(request, sink);
    if (!id.ok()) sink->OnFinished(id.status());
    return sink;
  }

  std::string State(const std::string& name) {
    for (const ModelReport& report : engine->ListModels()) {
      if (report.name != name) continue;
      constexpr const char* kNames[] = {"loading", "ready", "unloading", "failed"};
      return kNames[static_cast<size_t>(report.state)];
    }
    return "absent";
  }

  double BytesTaken() { return metrics.Gauge(MetricId::kModelsBytes).Value(); }
  std::string Scrape() {
    return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  }
};

TEST_CASE("a model is warm before it is ready and nothing of that is counted") {
  ModelsFixture f;
  f.Start();
  REQUIRE_OK(f.Load("one", "one.gguf"));
  const std::vector<std::string> events = f.engine->Devices()[0].events;
  REQUIRE(events.size() == 1);
  CHECK_THAT(events[0], Catch::StartsWith("warm: model one: ") && Catch::Contains(" steps in "));
  CHECK(f.metrics.Counter(MetricId::kPromptTokens).Value() == 0);
  CHECK(f.metrics.Counter(MetricId::kGeneratedTokens).Value() == 0);
  CHECK(f.metrics.Histogram(MetricId::kTimeToFirstTokenSeconds).Collect().histogram.sample_count ==
        0);
  const auto sink = f.Begin("one", 16);
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids.size() == 16);
}

TEST_CASE("models come and go, several at once, each with its own tokens") {
  ModelsFixture f;
  f.Start();
  REQUIRE_STATUS(f.Begin("", 4)->Wait().status, Code::kFailedPrecondition, "no language model");
  CHECK(f.BytesTaken() == 0);

  std::vector<TokenId> alone;
  for (const char* name : {"one", "two", "q8"}) {
    const auto loaded = f.Load(name, std::string(name) + ".gguf");
    REQUIRE_OK(loaded);
    CHECK(loaded->state == ModelState::kReady);
    CHECK(loaded->kind == ModelKind::kLanguage);
    CHECK(loaded->memory_bytes > loaded->weight_bytes);
    if (alone.empty()) {
      const auto sink = f.Begin("one", 16);
      REQUIRE_OK(sink->Wait().status);
      alone = sink->ids;
    }
  }
  CHECK(f.BytesTaken() > 0);
  CHECK_THAT(f.Scrape(), Catch::Contains("baton_model_info{kind=\"language\",model=\"two\"} 1"));

  std::vector<std::shared_ptr<GenerateRecorder>> sinks;
  for (int i = 0; i < 12; ++i) {
    const char* const names[] = {"one", "two", "q8", ""};
    sinks.push_back(f.Begin(names[i % 4], 16));
  }
  for (size_t i = 0; i < sinks.size(); ++i) {
    const auto outcome = sinks[i]->Wait();
    REQUIRE_OK(outcome.status);
    if (i % 4 == 0 || i % 4 == 3) CHECK(sinks[i]->ids == alone);
    if (i % 4 == 1) CHECK(sinks[i]->ids != alone);
    CHECK(outcome.result.model == (i % 4 == 3 ? "one" : i % 4 == 2 ? "q8" : i % 4 ? "two" : "one"));
  }

  // The default goes, and the next one takes its place; its slots are used again.
  const auto gone = f.Unload("one");
  REQUIRE_OK(gone);
  CHECK(f.State("one") == "absent");
  REQUIRE_STATUS(f.Begin("one", 4)->Wait().status, Code::kNotFound, "loaded: two, q8");
  CHECK(f.Begin("", 4)->Wait().result.model == "two");
  CHECK_THAT(f.Scrape(), !Catch::Contains("model=\"one\""));
  REQUIRE_OK(f.Load("again", "one.gguf"));
  const auto sink = f.Begin("again", 16);
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids == alone);
  for (const char* name : {"two", "q8", "again"}) REQUIRE_OK(f.Unload(name));
  CHECK(f.BytesTaken() == 0);
  REQUIRE_STATUS(f.Begin("", 4)->Wait().status, Code::kFailedPrecondition, "no language model");
  CHECK(f.metrics.Counter(MetricId::kModelUnloads).Value() == 4);
  CHECK(f.metrics.Counter(MetricId::kModelLoads, {"OK"}).Value() == 4);
}

TEST_CASE("a model that cannot be loaded says why, and leaves nothing behind") {
  ModelsFixture f;
  f.Start();
  REQUIRE_STATUS(f.Load("a", "broken.gguf"), Code::kInvalidArgument, "broken.gguf");
  CHECK(f.State("a") == "failed");
  CHECK_THAT(f.engine->ListModels().back().detail, Catch::Contains("broken.gguf"));
  REQUIRE_STATUS(f.Begin("a", 4)->Wait().status, Code::kNotFound, "could not be loaded");
  REQUIRE_STATUS(f.Load("b", "nothing.gguf"), Code::kNotFound, "nothing.gguf");
  REQUIRE_STATUS(f.Load("c", "../c.gguf"), Code::kInvalidArgument, "..");
  REQUIRE_STATUS(f.Load("c", "/etc/passwd"), Code::kPermissionDenied, "repository.directory");
  REQUIRE_STATUS(f.Load("", "one.gguf"), Code::kInvalidArgument, "name must be");
  REQUIRE_STATUS(f.Load("a/b", "one.gguf"), Code::kInvalidArgument, "name must be");
  REQUIRE_STATUS(f.Load("lexical-512", "one.gguf"), Code::kAlreadyExists, "lexical-512");
  CHECK(f.State("c") == "absent");
  CHECK(f.BytesTaken() == 0);
  REQUIRE_OK(f.Unload("a"));
  CHECK(f.State("a") == "absent");
  REQUIRE_OK(f.Load("b", "one.gguf"));  // a name that failed is free
  REQUIRE_STATUS(f.Load("b", "two.gguf"), Code::kAlreadyExists, "\"b\"");
  REQUIRE_STATUS(f.Unload("none"), Code::kNotFound, "none");
  REQUIRE_STATUS(f.Unload("lexical-512"), Code::kFailedPrecondition, "built in");
}

TEST_CASE("without a repository models neither come nor go") {
  ModelsFixture f;
  f.options.repository.directory.clear();
  f.Start();
  REQUIRE_STATUS(f.Load("a", "one.gguf"), Code::kFailedPrecondition, "repository.directory");
  REQUIRE_STATUS(f.Unload("a"), Code::kFailedPrecondition, "repository.directory");
}

TEST_CASE("models share one budget, and what one gives back another has") {
  ModelsFixture f;
  int64_t bytes = 0;
  {
    f.Start();
    bytes = f.Load("one", "one.gguf")->memory_bytes;
    f.Stop();
  }
  f.options.memory.models_bytes_max = bytes + bytes / 2;
  f.Start();
  const auto first = f.Load("one", "one.gguf");
  REQUIRE_OK(first);
  CHECK(first->memory_bytes == bytes);
  const auto refused = f.Load("second", "one.gguf");
  REQUIRE_STATUS(refused, Code::kResourceExhausted,
                 "takes " + std::to_string(bytes) + " bytes, but of memory.models_bytes_max, " +
                     std::to_string(bytes + bytes / 2) + ", " + std::to_string(bytes / 2));
  CHECK(f.State("second") == "failed");
  REQUIRE_OK(f.Begin("one", 4)->Wait().status);
  REQUIRE_OK(f.Unload("one"));
  CHECK(f.BytesTaken() == 0);
  REQUIRE_OK(f.Load("second", "one.gguf"));
  CHECK(f.BytesTaken() == static_cast<double>(bytes));
  f.Stop();

  // At the start as well.
  f.options.memory.models_bytes_max = 1000;
  f.AddRandomModel();
  auto store = VectorStore::Open(VectorOptions{.data_dir = f.dir.File("data")}, f.metrics);
  REQUIRE_OK(store);
  EngineParts parts{.clock = &SystemClock(), .metrics = &f.metrics, .store = store->get()};
  parts.models = f.models;
  REQUIRE_STATUS(Engine::Create(f.options, std::move(parts)), Code::kResourceExhausted, "random");
}

TEST_CASE("running requests end before their model goes, or are ended") {
  ModelsFixture f;
  // Held in the executor, so that the request runs as long as the test wants.
  ScriptedExecutor& scripted =
      f.AddScripted([](const LlmItem&) -> absl::StatusOr<TokenId> { return TokenId{265}; });
  Engine& engine = f.Start();
  REQUIRE_OK(f.Load("one", "one.gguf"));
  const auto begin = [&] {
    GenerateRequest request = EngineFixture::Scripted("hello", 6);
    request.model = "one";
    request.ignore_eos = true;
    auto sink = std::make_shared<GenerateRecorder>();
    REQUIRE_OK(engine.Submit(request, sink));
    REQUIRE(Eventually([&] { return scripted.queued() > 0; }));
    return sink;
  };
  scripted.Hold();
  auto sink = begin();
  auto unloaded = f.BeginUnload("one");
  REQUIRE(Eventually([&] { return f.State("one") == "unloading"; }));
  REQUIRE_STATUS(f.Begin("one", 4)->Wait().status, Code::kUnavailable, "being unloaded");
  REQUIRE_STATUS(f.Load("one", "one.gguf"), Code::kAlreadyExists, "one");
  REQUIRE_STATUS(f.Unload("one"), Code::kFailedPrecondition, "being unloaded");
  CHECK(f.BytesTaken() > 0);
  CHECK(unloaded.wait_for(std::chrono::milliseconds(20)) == std::future_status::timeout);
  scripted.Resume();
  REQUIRE_OK(sink->Wait().status);
  CHECK(sink->ids.size() == 6);
  REQUIRE_OK(Await(std::move(unloaded)));
  CHECK(f.BytesTaken() == 0);

  // Again, and the request outlasts what it gets. The lane goes only with the batch that is in
  // flight, though the client has been told before.
  REQUIRE_OK(f.Load("one", "one.gguf"));
  scripted.Hold();
  sink = begin();
  unloaded = f.BeginUnload("one", 10'000);
  REQUIRE_STATUS(sink->Wait().status, Code::kUnavailable, "drain timeout");
  CHECK(f.State("one") == "unloading");
  CHECK(f.BytesTaken() > 0);
  scripted.Resume();
  REQUIRE_OK(Await(std::move(unloaded)));
  CHECK(f.BytesTaken() == 0);
}

TEST_CASE("a collection whose embedder is gone refuses Ingest and Ask until it is back") {
  ModelsFixture f;
  f.AddRandomEncoder("mini");
  Engine& engine = f.Start();
  f.embedders.clear();  // the engine has the only hold on it
  const auto ingest = [&] {
    IngestRequest request{.collection = "docs",
                          .documents = {{.id = "a", .text = "The tower is red."}}};
    return Call<IngestResult>(
        [&](Done<IngestResult> done) { return engine.Submit(request, std::move(done)); });
  };
  const auto ask = [&] {
    auto sink = std::make_shared<AskRecorder>();
    REQUIRE_OK(engine.Submit(AskRequest{.collection = "docs", .question = "What is red?"}, sink));
    return sink->Wait().status;
  };
  REQUIRE_OK(ingest());
  REQUIRE_OK(ask());
  REQUIRE_OK(f.Unload("mini"));
  CHECK(f.BytesTaken() == 0);
  REQUIRE_STATUS(ingest(), Code::kFailedPrecondition, "embedded by another model");
  REQUIRE_STATUS(ask(), Code::kFailedPrecondition, "embedded by another model");
  const auto back = f.Load("mini", "encoder.gguf");
  REQUIRE_OK(back);
  CHECK(back->kind == ModelKind::kEmbedding);
  CHECK(back->embedding_dimension == 64);
  REQUIRE_OK(ingest());
  REQUIRE_OK(ask());
}

// Answers of requests that nobody waits for one by one.
struct Answers {
  std::atomic<int> ok{0}, refused{0}, wrong{0}, open{0};
  void Add(const absl::Status& status) {
    if (status.ok()) {
      ++ok;
    } else if (absl::IsNotFound(status) || absl::IsUnavailable(status) ||
               absl::IsFailedPrecondition(status)) {
      ++refused;
    } else {
      ++wrong;
    }
    --open;
  }
};
class CountingSink final : public TokenSink {
 public:
  explicit CountingSink(Answers& answers) : answers_(answers) {}
  void OnPrompt(PromptChunk) override {}
  void OnTokens(TokenChunk) override {}
  void OnCompletion(GenerateResult) override {}
  void OnFinished(absl::Status status) override { answers_.Add(status); }

 private:
  Answers& answers_;
};

TEST_CASE("requests that race with models that come and go are answered one way or the other") {
  Answers answers;
  ModelsFixture f;
  Engine& engine = f.Start();
  std::atomic<bool> stop{false};
  std::thread client([&] {
    for (int i = 0; !stop; ++i) {
      if (answers.open > 16) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        continue;
      }
      absl::Status refused;
      ++answers.open;
      if (i % 3 == 0) {
        EmbedRequest request;
        request.model = "enc";
        request.texts = {"the tower", "of number 7"};
        refused =
            engine
                .Submit(request,
                        [&](absl::StatusOr<EmbedResult> result) { answers.Add(result.status()); })
                .status();
      } else if (i % 3 == 1) {
        GenerateRequest request;
        request.model = "one";
        request.prompt = "the cat sat";
        request.max_tokens = 1 + i % 9;
        refused = engine.Submit(request, std::make_shared<CountingSink>(answers)).status();
      } else {
        refused = engine
                      .SubmitTokenize("one", "the cat", std::nullopt,
                                      [&](absl::StatusOr<std::vector<TokenId>> result) {
                                        answers.Add(result.status());
                                      })
                      .status();
      }
      if (!refused.ok()) answers.Add(refused);
      for (const ModelReport& report : engine.ListModels()) answers.wrong += report.name.empty();
    }
  });
  for (int i = 0; i < 12; ++i) {
    REQUIRE_OK(f.Load("one", i % 2 == 0 ? "one.gguf" : "two.gguf"));
    REQUIRE_OK(f.Load("enc", "encoder.gguf"));
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    REQUIRE_OK(f.Unload("one", i % 3 == 0 ? 0 : 1'000'000));
    REQUIRE_OK(f.Unload("enc", i % 3 == 0 ? 0 : 1'000'000));
    CHECK(f.BytesTaken() == 0);
  }
  stop = true;
  client.join();
  REQUIRE(Eventually([&] { return answers.open == 0; }));
  CHECK(answers.wrong == 0);
  CHECK(answers.ok > 0);
}

TEST_CASE("an engine ends while models come and go") {
  for (int i = 0; i < 3; ++i) {
    ModelsFixture f;
    Engine& engine = f.Start();
    REQUIRE_OK(f.Load("one", "one.gguf"));
    const auto sink = f.Begin("one", 100);
    std::atomic<int> ended{0};
    for (int j = 0; j < 4; ++j) {
      LoadModelRequest load;
      load.name = "m" + std::to_string(j);
      load.path = "q8.gguf";
      REQUIRE_OK(engine.Submit(load, [&](absl::StatusOr<ModelReport>) { ++ended; }));
    }
    UnloadModelRequest unload;
    unload.name = "one";
    REQUIRE_OK(engine.Submit(unload, [&](absl::StatusOr<ModelReport>) { ++ended; }));
    f.Stop();
    CHECK(ended == 5);
    sink->Wait();
  }
}

}  // namespace
}  // namespace baton
