#pragma once

#include <functional>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/exec/cpu/cpu_executor.h"
#include "engine/exec/simulated/simulated_node.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/temp_dir.h"

namespace baton {

// An engine over a store of its own for programs that are no tests: what fails is a status. What is
// public is set before Start().
class PlainEngine {
 public:
  EngineOptions options;
  Metrics metrics;
  SimulationOptions simulation;  // its devices stand behind the CPU
  const Clock* clock = &SystemClock();
  Timeline::Warp warp;
  std::function<std::unique_ptr<Executor>(std::unique_ptr<Executor>)> wrap_cpu;
  std::unique_ptr<Executor> before_cpu;  // null: none
  int threads = 2;

  PlainEngine() { options.kv.memory_mb = 4; }

  absl::Status AddRandomModel(const RandomModelOptions& shape);
  absl::Status Start();
  Engine& engine() { return *engine_; }

  // Calls `submit(done)` and waits for what `done` is called with.
  template <class T, class Submit>
  static absl::StatusOr<T> Call(Submit submit) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<T>>>();
    const absl::StatusOr<RequestId> id =
        submit([promise](absl::StatusOr<T> result) { promise->set_value(std::move(result)); });
    if (!id.ok()) return id.status();
    return promise->get_future().get();
  }

 private:
  TempDir dir_;
  std::unique_ptr<TempFile> model_file_;
  std::vector<std::shared_ptr<const LanguageModel>> models_;
  std::unique_ptr<VectorStore> store_;
  std::shared_ptr<SimulatedNode> node_;
  std::unique_ptr<Engine> engine_;  // destroyed first
};

// The design study's question, one after another, on simulated devices of its times: search 5 ms,
// prefill 15 ms, and a decode of 25 ms on an FPGA or 60 ms on a GPU.
struct StudyQuestions {
  bool hybrid = true;  // else a GPU alone
  int questions = 31;
  bool real_time = false;  // else a clock skips what nobody need wait for
};
// What each took by the engine's own word, microseconds, ascending. The first question, by which
// results are learned by heart, is left out.
absl::StatusOr<std::vector<TimeUs>> AskStudyQuestions(const StudyQuestions& of);

}  // namespace baton
