#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/clock.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// How a simulated device or path is at a moment, by its script and by what was injected. Pure; not
// thread safe.
class FaultScript {
 public:
  enum class Mode : uint8_t { kWell, kFailing, kHung, kLost };

  // The script's times count from `start_us`.
  FaultScript(const std::vector<FaultStep>& steps, TimeUs start_us);

  // Applies what is due by now. True where something changed.
  bool Advance(TimeUs now_us);
  // Another batch, or copy, comes; applies what is due with it. Likewise.
  bool CountBatch();
  void Apply(SimulatedFault fault, double factor);

  // The next moment of the script; kNoDeadline: none.
  TimeUs NextUs() const;
  Mode mode() const { return mode_; }
  double slow_factor() const { return slow_factor_; }
  // How often it was lost: what was in its memory before is gone.
  int32_t losses() const { return losses_; }

 private:
  std::vector<FaultStep> timed_;    // by at_s
  std::vector<FaultStep> counted_;  // by at_batch
  size_t next_timed_ = 0;
  size_t next_counted_ = 0;
  const TimeUs start_us_;
  int64_t batches_ = 0;
  Mode mode_ = Mode::kWell;
  double slow_factor_ = 1;
  int32_t losses_ = 0;
};

}  // namespace baton
