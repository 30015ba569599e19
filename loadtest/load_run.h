#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loadtest/results.h"
#include "loadtest/scenario.h"
#include "loadtest/trace.h"
#include "loadtest/transport.h"
#include "loadtest/workload.h"

namespace baton::load {

// A scenario's requests, encoded before the run so that sending costs little.
class PreparedLoad {
 public:
  struct Mix {
    RequestMix options;
    Workload workload;
    std::vector<Body> bodies;  // of each input; empty for upserts, which are encoded as they go
  };

  // Asks the server for the dimensions that the scenario leaves open: `transport` is connected.
  static absl::StatusOr<PreparedLoad> Make(const Scenario& scenario, Transport& transport);

  const std::vector<Mix>& mixes() const { return mixes_; }
  const Mix* probe() const { return probe_.get(); }
  const std::vector<TraceEntry>& trace() const { return trace_; }

 private:
  std::vector<Mix> mixes_;
  std::unique_ptr<Mix> probe_;
  std::vector<TraceEntry> trace_;
};

// What a running load says of itself, about once a second.
struct Progress {
  double at_s = 0;  // from the start, warm-up included
  double of_s = 0;
  int64_t sent = 0;
  int64_t ok = 0;
  int64_t failed = 0;
  int64_t in_flight = 0;
  double ok_per_s = 0;  // since the last time
};
using ShowProgress = std::function<void(const Progress&)>;

// Sends load from the calling thread until the duration has passed or `stop` is set, then waits for
// what is under way (at most until its deadlines). Figures go to `results`, also where it fails:
// UNAVAILABLE: the server has gone. RESOURCE_EXHAUSTED: this machine cannot send at that rate.
absl::Status RunLoad(const Scenario& scenario, const PreparedLoad& load, Transport& transport,
                     const std::atomic<bool>& stop, const ShowProgress& show, Results& results);

}  // namespace baton::load
