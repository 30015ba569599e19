#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "loadtest/load_run.h"

namespace baton::load {

// One rate that a sweep tried.
struct SweepStep {
  double rate_per_s = 0;
  double ok_per_s = 0;
  double goodput_per_s = 0;
  double goodput_share = 0;
  double tokens_per_s = 0;
  double ttft_p50_ms = 0;  // 0: nothing was streamed
  double ttft_p99_ms = 0;
  double e2e_p50_ms = 0;
  double e2e_p99_ms = 0;
  bool holds = false;         // goodput_share is at least slo.share
  bool client_bound = false;  // the client was the bottleneck: says nothing of the server
};

struct SweepOutcome {
  absl::Status status;
  std::vector<SweepStep> steps;  // as they were tried
  double rate_at_slo = 0;        // the highest rate that held; 0: none did
  double goodput_peak_per_s = 0;
  bool client_bound = false;    // it ended because the client could not send more
  std::optional<Results> best;  // of that rate; else of the first one
};

// Whether one of the client's threads had next to nothing to wait for: figures are then its own,
// not the server's.
bool IsClientBound(const Results& results);

// Runs the scenario at the rates of scenario.sweep until one breaks scenario.slo, and between.
// An error of a run ends it; what came before is in the outcome.
SweepOutcome RunSweep(const Scenario& scenario, const PreparedLoad& load, Transport& transport,
                      const std::atomic<bool>& stop, const ShowProgress& show,
                      const std::function<void(const SweepStep&)>& on_step);

}  // namespace baton::load
