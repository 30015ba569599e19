#include "engine/schedule/step_forecast.h"

#include <algorithm>

namespace baton {
namespace {

constexpr double kPromptRate = 1.0 / 8;
constexpr double kDecodeRate = 1.0 / 32;  // a line takes more of them than a mean
// Variance of the number of decodes, of its mean's square, below which they have no slope of their
// own.
constexpr double kVarianceMin = 0.01;

void Learn(double observed, double rate, bool first, double& known) {
  known = first ? observed : known + (observed - known) * rate;
}

}  // namespace

void StepForecast::Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us) {
  const auto us = static_cast<double>(run_us);
  if (us <= 0 || decode_tokens + prompt_tokens == 0) return;
  const auto decodes = static_cast<double>(decode_tokens);
  const bool first = decodes_.count == 0;
  if (prompt_tokens == 0) {
    Learn(decodes, kDecodeRate, first, decodes_.count);
    Learn(us, kDecodeRate, first, decodes_.us);
    Learn(decodes * decodes, kDecodeRate, first, decodes_.count_square);
    Learn(decodes * us, kDecodeRate, first, decodes_.count_us);
  } else if (decode_tokens == 0 || !first) {
    const double beside = decode_tokens == 0 ? 0 : DecodeUs(decodes);
    Learn(std::max(1.0, us - beside) / static_cast<double>(prompt_tokens), kPromptRate,
          prompt_token_us_ == 0, prompt_token_us_);
  }
}

double StepForecast::DecodeUs(double decodes) const {
  const double square = decodes_.count * decodes_.count;
  const double variance = decodes_.count_square - square;
  // Where they hardly differ: a decode is one token more in the step, as one of a prompt is.
  const double slope = variance < kVarianceMin * square
                           ? prompt_token_us_
                           : (decodes_.count_us - decodes_.count * decodes_.us) / variance;
  // No step takes less for more decodes, nor does each take more than its share.
  return std::max(1.0, decodes_.us + std::clamp(slope, 0.0, decodes_.us / decodes_.count) *
                                         (decodes - decodes_.count));
}

int64_t StepForecast::PromptTokens(int64_t percent, int64_t decodes, int64_t running) const {
  if (decodes_.count == 0 || prompt_token_us_ == 0) return INT64_MAX;
  const double spare_us =
      DecodeUs(static_cast<double>(running)) * static_cast<double>(percent) / 100 -
      DecodeUs(static_cast<double>(decodes));
  return std::max(kTokensMin, static_cast<int64_t>(spare_us / prompt_token_us_));
}

}  // namespace baton
