#pragma once

#include <future>
#include <utility>

#include "absl/status/status.h"
#include "engine/request/generate_request.h"
#include "tests/support/bench_report.h"

// The parts of `./dev bench hybrid`.
namespace baton {

// handoff.*: hybrid_bench.cc.
// mixed.*, adapt.*, batching.*: hybrid_routing.cc.
void RunRouting(const BenchArgs& args, BenchReport& report);
// cost_model.*: hybrid_costs.cc.
void RunCosts(const BenchArgs& args, BenchReport& report);
// rag.*, step.*: hybrid_runtime.cc.
void RunRuntime(const BenchArgs& args, BenchReport& report);

// Waits for a generation to end, and keeps nothing of it.
class Countdown final : public TokenSink {
 public:
  void OnTokens(TokenChunk) override {}
  void OnPrompt(PromptChunk) override {}
  void OnCompletion(GenerateResult) override {}
  void OnFinished(absl::Status status) override { ended_.set_value(std::move(status)); }
  absl::Status Wait() { return ended_.get_future().get(); }

 private:
  std::promise<absl::Status> ended_;
};

}  // namespace baton
