#include "engine/schedule/step_forecast.h"

#include <algorithm>

namespace baton {
namespace {

void Learn(double observed, double& known) {
  known = known == 0 ? observed : known + (observed - known) / 8;
}

}  // namespace

void StepForecast::Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us) {
  const auto us = static_cast<double>(run_us);
  if (us <= 0) return;
  if (prompt_tokens == 0) {
    Learn(us, decode_us_);
  } else if (decode_tokens == 0 || decode_us_ > 0) {
    const double beside = decode_tokens == 0 ? 0 : decode_us_;
    Learn(std::max(1.0, us - beside) / static_cast<double>(prompt_tokens), prompt_token_us_);
  }
}

int64_t StepForecast::PromptTokens(int64_t percent) const {
  if (decode_us_ == 0 || prompt_token_us_ == 0) return INT64_MAX;
  const double spare_us = decode_us_ * static_cast<double>(percent - 100) / 100;
  return std::max(kTokensMin, static_cast<int64_t>(spare_us / prompt_token_us_));
}

}  // namespace baton
