#pragma once

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

}  // namespace baton
