#include "engine/schedule/step_forecast.h"

#include <algorithm>

namespace baton {
namespace {

constexpr double kPromptRate = 1.0 / 8;
constexpr double kDecodeRate = 1.0 / 32;  // a line takes more of them than a mean
// Variance of the number of tokens, of its mean's square, below which they have no slope of their
// own. Chunks that are cut to the same time all differ a little, and the time does not.
constexpr double kDecodeVarianceMin = 0.01;
constexpr double kPromptVarianceMin = 0.06;
// What a chunk's tokens take at least, of what it takes before the first: less of them would hardly
// make a step shorter, and a prompt wait for many more steps.
constexpr double kChunkShareMin = 1.0 / 6;
// A prompt token costs at least this share of a chunk's mean by its tokens: where chunks of one
// length come to take less, the rest would seem to be free. With the share above: where what comes
// before the first token alone is too long, chunks stay as long as they are.
constexpr double kPromptShareMin = kChunkShareMin / (1 + kChunkShareMin);

}  // namespace

void StepForecast::Means::Learn(double of_count, double of_us, double rate) {
  const auto learn = [rate, first = count == 0](double observed, double& known) {
    known = first ? observed : known + (observed - known) * rate;
  };
  learn(of_us, us);
  learn(of_count * of_count, count_square);
  learn(of_count * of_us, count_us);
  learn(of_count, count);
}

double StepForecast::Means::Variance() const { return count_square / (count * count) - 1; }

double StepForecast::Means::Slope() const {
  return (count_us - count * us) / (count_square - count * count);
}

void StepForecast::Observe(int64_t decode_tokens, int64_t prompt_tokens, TimeUs run_us) {
  const auto us = static_cast<double>(run_us);
  if (us <= 0 || decode_tokens + prompt_tokens == 0) return;
  const auto decodes = static_cast<double>(decode_tokens);
  if (prompt_tokens == 0) {
    decodes_.Learn(decodes, us, kDecodeRate);
  } else if (decode_tokens == 0 || decodes_.count > 0) {
    const double beside = decode_tokens == 0 ? 0 : DecodeUs(decodes);
    prompts_.Learn(static_cast<double>(prompt_tokens), std::max(1.0, us - beside), kPromptRate);
    if (prompts_.Variance() >= kPromptVarianceMin) {
      prompt_before_us_ = prompts_.us - prompts_.Slope() * prompts_.count;
    }
  }
}

double StepForecast::DecodeUs(double decodes) const {
  // Where they hardly differ: a decode is one token more in the step, as one of a prompt is.
  const double slope =
      decodes_.Variance() < kDecodeVarianceMin ? PromptTokenUs() : decodes_.Slope();
  // No step takes less for more decodes, nor does each take more than its share.
  return std::max(1.0, decodes_.us + std::clamp(slope, 0.0, decodes_.us / decodes_.count) *
                                         (decodes - decodes_.count));
}

double StepForecast::PromptTokenUs() const {
  if (prompts_.count == 0) return 0;
  const double share = prompts_.us / prompts_.count;
  return std::clamp(share - prompt_before_us_ / prompts_.count, share * kPromptShareMin, share);
}

double StepForecast::PromptUs(double prompt_tokens) const {
  return prompts_.us + PromptTokenUs() * (prompt_tokens - prompts_.count);
}

int64_t StepForecast::PromptTokens(int64_t percent, int64_t decodes, int64_t running) const {
  if (decodes_.count == 0 || prompts_.count == 0) return INT64_MAX;
  const double before_us = PromptUs(0);
  const double tokens =
      std::max(SpareUs(percent, decodes, running) - before_us, before_us * kChunkShareMin) /
      PromptTokenUs();
  return std::max(kTokensMin, static_cast<int64_t>(tokens));
}

double StepForecast::SpareUs(int64_t percent, int64_t decodes, int64_t running) const {
  if (decodes_.count == 0) return 0;
  return DecodeUs(static_cast<double>(running)) * static_cast<double>(percent) / 100 -
         DecodeUs(static_cast<double>(decodes));
}

double StepForecast::StepUs(int64_t decodes, int64_t prompt_tokens) const {
  if ((decodes > 0 && decodes_.count == 0) || (prompt_tokens > 0 && prompts_.count == 0)) return 0;
  return (decodes > 0 ? DecodeUs(static_cast<double>(decodes)) : 0) +
         (prompt_tokens > 0 ? PromptUs(static_cast<double>(prompt_tokens)) : 0);
}

}  // namespace baton
