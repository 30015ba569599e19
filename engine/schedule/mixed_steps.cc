#include "engine/schedule/mixed_steps.h"

#include <algorithm>
#include <cmath>

namespace baton {
namespace {

// What a step with a prompt adds is hardly less than a tenth of it: a difference of two noisy times
// may be, even below zero.
constexpr double kPartMin = 0.1;
// A step that is off by more than so much, in logarithms, tells of the device, not of the ratio.
constexpr double kRatioStepMax = 0.25;
constexpr double kRatioGain = 1.0 / 64;

}  // namespace

MixedSteps::Times MixedSteps::Split(double run_us, const std::optional<CostPrediction>& decode,
                                    const std::optional<CostPrediction>& prefill) {
  Times times;
  if (run_us <= 0 || (!decode && !prefill)) return times;
  if (!prefill) {
    times.prefill_us = std::max(kPartMin * run_us, run_us - decode->run_us);
    return times;
  }
  if (!decode) {
    times.decode_us = std::max(kPartMin * run_us, run_us - prefill->run_us);
    return times;
  }
  const double alone_us = decode->run_us + prefill->run_us;
  const double off = std::log(run_us / (ratio_ * alone_us));
  if (steps_ < kSettleSteps) {
    ++steps_;
    ratio_ *= std::exp(off / static_cast<double>(steps_));  // the geometric mean so far
    ratio_ = std::clamp(ratio_, 0.5, 1.5);
    return times;
  }
  if (std::abs(off) < kRatioStepMax) ratio_ *= std::exp(kRatioGain * off);
  ratio_ = std::clamp(ratio_, 0.5, 1.5);
  times.decode_us = decode->run_us * std::exp(off);
  times.prefill_us = prefill->run_us * std::exp(off);
  return times;
}

}  // namespace baton
