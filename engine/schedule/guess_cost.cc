#include "engine/schedule/guess_cost.h"

#include <algorithm>

namespace baton {
namespace {

constexpr int64_t kSteps = 64;              // that the means move over
constexpr int64_t kStepsMin = 16;           // that a line takes
constexpr double kCountVarianceMin = 0.05;  // of the tokens
// A step that takes this much longer than it should was interrupted: how much longer tells nothing,
// and a single one of them would turn the line.
constexpr double kInterrupted = 1.5;

}  // namespace

void GuessCost::Observe(int64_t tokens, TimeUs run_us) {
  if (tokens < 1 || run_us <= 0) return;
  const auto count = static_cast<double>(tokens);
  auto us = static_cast<double>(run_us);
  if (steps_ >= kStepsMin) us = std::min(us, kInterrupted * LineUs(count));
  steps_ = std::min(steps_ + 1, kSteps);
  const auto learn = [rate = 1 / static_cast<double>(steps_)](double observed, double& mean) {
    mean += (observed - mean) * rate;
  };
  learn(count, tokens_);
  learn(us, us_);
  learn(count * count, square_);
  learn(count * us, product_);
}

double GuessCost::Slope() const {
  if (Variance() < kCountVarianceMin) return 0;
  // No step takes less for more tokens, nor does each take more than its share.
  return std::clamp((product_ - tokens_ * us_) / Variance(), 0.0, us_ / tokens_);
}

double GuessCost::LineUs(double tokens) const { return us_ + Slope() * (tokens - tokens_); }

double GuessCost::Share() const {
  if (steps_ < kStepsMin || Variance() < kCountVarianceMin) return kUnknown;
  return std::min(Slope() / LineUs(1), kMost);
}

}  // namespace baton
