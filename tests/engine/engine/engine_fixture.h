#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/exec/cpu/cpu_executor.h"
#include "engine/exec/simulated/simulated_node.h"
#include "tests/support/await.h"
#include "tests/support/encoder_file.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/scripted_executor.h"
#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {

// A whole engine over a store of its own, the CPU executor, and what a test adds.
class EngineFixture {
 public:
  EngineOptions options;
  Metrics metrics;
  std::vector<std::shared_ptr<const LanguageModel>> models;
  std::vector<EmbedderPart> embedders;  // the lexical one comes behind them
  SimulationOptions simulation;         // its devices stand behind the CPU
  PlacementPlan placement;              // of all executors, in their order
  const Clock* clock = &SystemClock();
  Timeline::Warp warp;
  std::vector<std::unique_ptr<CopyPath>> paths;        // of what AddExecutor adds
  std::vector<std::shared_ptr<DeviceMapper>> mappers;  // as well
  VectorOptions vector;
  AnswerRunner* answer_runner = nullptr;

  EngineFixture() { options.kv.memory_mb = 4; }

  void AddRandomModel(const RandomModelOptions& shape = {}) {
    files_.push_back(std::make_unique<TempFile>(RandomModelBytes(shape)));
    auto model = LoadLanguageModel("random", files_.back()->path());
    REQUIRE_OK(model);
    models.push_back(*model);
  }

  // Before the embedders there are, so that it is the default.
  void AddRandomEncoder(const std::string& name, const RandomEncoderOptions& shape = {}) {
    files_.push_back(std::make_unique<TempFile>(RandomEncoderBytes(shape)));
    auto encoder = LoadTextEncoder(name, files_.back()->path());
    REQUIRE_OK(encoder);
    embedders.insert(embedders.begin(), {.embedder = *encoder});
  }

  // Orders texts by a query.
  void AddRandomReranker(const std::string& name, RandomEncoderOptions shape = {}) {
    shape.pooling = 4;
    AddRandomEncoder(name, shape);
  }

  // It stands before the CPU.
  void AddExecutor(std::unique_ptr<Executor> executor) { extra_.push_back(std::move(executor)); }

  // Its language-model work is done by `script`; it stands before the CPU and is preferred for
  // prefill, and for decode too.
  ScriptedExecutor& AddScripted(ScriptedExecutor::Script script) {
    auto executor = std::make_unique<ScriptedExecutor>(std::move(script));
    ScriptedExecutor& added = *executor;
    extra_.push_back(std::move(executor));
    return added;
  }

  Engine& Start() {
    REQUIRE_OK(TryStart());
    return *engine;
  }

  absl::Status TryStart() {
    vector.data_dir = dir_.File("data");
    auto store = VectorStore::Open(vector, metrics);
    REQUIRE_OK(store);
    store_ = *std::move(store);
    EngineParts parts{.clock = clock,
                      .metrics = &metrics,
                      .store = store_.get(),
                      .executors = std::move(extra_),
                      .paths = std::move(paths),
                      .mappers = std::move(mappers),
                      .models = models,
                      .embedders = embedders,
                      .placement = placement,
                      .peer_hold_at = simulation.peer_hold_at,
                      .answers = answer_runner};
    parts.embedders.push_back({.embedder = MakeLexicalEmbedder(512)});
    auto cpu = MakeCpuExecutor(CpuOptions{.llm_threads = 2, .search_threads = 2}, *clock);
    REQUIRE_OK(cpu);
    if (simulation.devices.empty()) {
      parts.executors.push_back(*std::move(cpu));
    } else {
      node = SimulatedNode::Create(simulation, *clock, warp);
      SimulatedNode::Parts made =
          node->Make(wrap_cpu ? wrap_cpu(*std::move(cpu)) : *std::move(cpu));
      for (auto& executor : made.executors) parts.executors.push_back(std::move(executor));
      parts.paths = std::move(made.paths);
    }
    auto made = Engine::Create(options, std::move(parts));
    if (made.ok()) engine = *std::move(made);
    return made.status();
  }

  // What was stored stays for another Start().
  void Stop() {
    engine.reset();
    store_.reset();
  }

  std::shared_ptr<GenerateRecorder> Submit(const GenerateRequest& request) {
    auto sink = std::make_shared<GenerateRecorder>();
    const auto id = engine->Submit(request, sink);
    REQUIRE_OK(id);
    last = *id;
    return sink;
  }

  // A request that the scripted executor serves whole.
  static GenerateRequest Scripted(std::string prompt, int32_t max_tokens) {
    GenerateRequest request;
    request.prompt = std::move(prompt);
    request.max_tokens = max_tokens;
    request.envelope.hints.platform = Platform::kGpu;
    return request;
  }

 private:
  TempDir dir_;
  std::vector<std::unique_ptr<TempFile>> files_;
  std::vector<std::unique_ptr<Executor>> extra_;
  std::unique_ptr<VectorStore> store_;

 public:
  std::function<std::unique_ptr<Executor>(std::unique_ptr<Executor>)> wrap_cpu;  // of a simulation
  std::shared_ptr<SimulatedNode> node;  // of the last Start()
  RequestId last;                       // that Submit() was given
  std::unique_ptr<Engine> engine;       // destroyed first
};

}  // namespace baton
