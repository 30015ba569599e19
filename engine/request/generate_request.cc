#include "engine/request/generate_request.h"

#include "engine/base/strings.h"

namespace baton {

absl::Status ValidateSampling(const SamplingParams& params) {
  // Written so that NaN fails every comparison.
  if (!(params.temperature >= 0 && params.temperature <= 100)) {
    return absl::InvalidArgumentError(
        StrCat("sampling.temperature must be 0 to 100, but is ", params.temperature));
  }
  if (params.top_k < 0 || params.top_k > 1'000'000) {
    return absl::InvalidArgumentError(
        StrCat("sampling.top_k must be 0 to 1000000, but is ", params.top_k));
  }
  if (!(params.top_p > 0 && params.top_p <= 1)) {
    return absl::InvalidArgumentError(
        StrCat("sampling.top_p must be above 0 and at most 1, but is ", params.top_p));
  }
  if (!(params.min_p >= 0 && params.min_p <= 1)) {
    return absl::InvalidArgumentError(
        StrCat("sampling.min_p must be 0 to 1, but is ", params.min_p));
  }
  return absl::OkStatus();
}

std::string_view Name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kContext:
      return "context";
  }
  return "unknown";
}

}  // namespace baton
