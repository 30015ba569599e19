#include "engine/request/generate_request.h"

#include <algorithm>
#include <cmath>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kBiasesMax = 1024;
constexpr float kBiasMax = 100;
constexpr int32_t kPenaltyLastMax = 1 << 20;
constexpr size_t kStopStringsMax = 16;
constexpr size_t kStopBytesMax = 256;
constexpr size_t kStopTokensMax = 1024;
constexpr int32_t kLogprobsMax = 20;
constexpr int32_t kCompletionsMax = 16;

template <class Number>
struct Bounds {
  Number min;
  Number max;
};

// Written so that NaN fails every comparison.
template <class Number>
absl::Status CheckRange(std::string_view field, Number value, Bounds<Number> bounds) {
  if (value >= bounds.min && value <= bounds.max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(field, " must be ", bounds.min, " to ", bounds.max, ", but is ", value));
}

absl::Status CheckAtMost(std::string_view field, size_t count, size_t max) {
  if (count <= max) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat(field, " must be at most ", max, ", but are ", count));
}

}  // namespace

absl::Status ValidateSampling(const SamplingParams& params) {
  RETURN_IF_ERROR(CheckRange("sampling.temperature", params.temperature, {0, 100}));
  RETURN_IF_ERROR(CheckRange("sampling.top_k", params.top_k, {0, 1'000'000}));
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return absl::InvalidArgumentError(
        StrCat("sampling.top_p must be above 0 and at most 1, but is ", params.top_p));
  }
  RETURN_IF_ERROR(CheckRange("sampling.min_p", params.min_p, {0, 1}));
  RETURN_IF_ERROR(CheckAtMost("sampling.logit_bias", params.logit_bias.size(), kBiasesMax));
  for (const auto& [token, bias] : params.logit_bias) {
    if (std::abs(bias) <= kBiasMax) continue;
    return absl::InvalidArgumentError(StrCat("sampling.logit_bias[", token, "] must be ", -kBiasMax,
                                             " to ", kBiasMax, ", but is ", bias));
  }
  // Beyond these bounds of it, logits may leave the range of a float.
  RETURN_IF_ERROR(
      CheckRange("sampling.repetition_penalty", params.repetition_penalty, {0.01f, 100}));
  RETURN_IF_ERROR(
      CheckRange("sampling.penalty_last_n", params.penalty_last_n, {-1, kPenaltyLastMax}));
  RETURN_IF_ERROR(CheckRange("sampling.presence_penalty", params.presence_penalty, {-2, 2}));
  return CheckRange("sampling.frequency_penalty", params.frequency_penalty, {-2, 2});
}

absl::Status ValidateStop(const StopConditions& stop) {
  RETURN_IF_ERROR(CheckAtMost("stop", stop.strings.size(), kStopStringsMax));
  for (size_t i = 0; i < stop.strings.size(); ++i) {
    const size_t bytes = stop.strings[i].size();
    if (bytes < 1 || bytes > kStopBytesMax) {
      return absl::InvalidArgumentError(
          StrCat("stop[", i, "] must be 1 to ", kStopBytesMax, " bytes long, but is ", bytes));
    }
  }
  RETURN_IF_ERROR(CheckAtMost("stop_token_ids", stop.tokens.size(), kStopTokensMax));
  if (stop.min_tokens < 0) {
    return absl::InvalidArgumentError(
        StrCat("min_tokens must be at least 0, but is ", stop.min_tokens));
  }
  return absl::OkStatus();
}

absl::Status ValidateLogprobs(std::optional<int32_t> logprobs) {
  if (!logprobs.has_value()) return absl::OkStatus();
  return CheckRange("logprobs", *logprobs, {0, kLogprobsMax});
}

absl::Status ValidateCompletions(int32_t completions) {
  return CheckRange("n", completions, {1, kCompletionsMax});
}

absl::Status ValidateGenerate(const GenerateRequest& request) {
  RETURN_IF_ERROR(ValidateSampling(request.sampling));
  RETURN_IF_ERROR(ValidateStop(request.stop));
  if (const auto* chat = std::get_if<ChatPrompt>(&request.prompt)) {
    RETURN_IF_ERROR(ValidateChat(*chat));
  }
  RETURN_IF_ERROR(ValidateLogprobs(request.logprobs));
  return ValidateCompletions(request.completions);
}

std::string_view FieldOf(TextConstraint::Kind kind) {
  switch (kind) {
    case TextConstraint::Kind::kNone:
      return "constraint";
    case TextConstraint::Kind::kGrammar:
      return "grammar";
    case TextConstraint::Kind::kJsonSchema:
      return "json_schema";
    case TextConstraint::Kind::kJsonObject:
      return "json_object";
  }
  return "unknown";
}

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
    case FinishReason::kStopString:
      return "stop_string";
    case FinishReason::kStopToken:
      return "stop_token";
  }
  return "unknown";
}

}  // namespace baton
