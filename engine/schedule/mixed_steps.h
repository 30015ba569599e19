#pragma once

#include <cstdint>
#include <optional>

#include "engine/schedule/cost_curve.h"

namespace baton {

// Of a step that does prompts beside decodes: how much of its time each would have taken alone. One
// per executor. Pure.
//
// Together they take less than one after the other, since weights are read once. That ratio is
// learned slowly, from steps whose parts are both known; what a step differs by from parts times
// ratio is then the parts', in proportion, so a device that slows down is seen in mixed steps, too.
// Where only one part is known the other is what it leaves over; where neither is, nobody knows.
class MixedSteps {
 public:
  struct Times {
    std::optional<double> decode_us = {};
    std::optional<double> prefill_us = {};
  };
  // The predictions are of each part alone; nullopt: not known for sure.
  Times Split(double run_us, const std::optional<CostPrediction>& decode,
              const std::optional<CostPrediction>& prefill);

  // Time together over the times alone; 1 before anything is known.
  double ratio() const { return ratio_; }

 private:
  // As many mixed steps only teach the ratio at first.
  static constexpr int64_t kSettleSteps = 32;

  double ratio_ = 1;
  int64_t steps_ = 0;
};

}  // namespace baton
