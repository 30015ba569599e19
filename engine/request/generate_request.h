#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

// How the next token is chosen: top_k, top_p, min_p filter in this order, then temperature.
struct SamplingParams {
  float temperature = 0;         // 0: greedy; else up to 100
  int32_t top_k = 0;             // 0: all
  float top_p = 1;               // (0, 1]
  float min_p = 0;               // [0, 1]
  std::optional<uint64_t> seed;  // drawn at random where absent
};

absl::Status ValidateSampling(const SamplingParams& params);

struct GenerateRequest {
  Envelope envelope;
  std::string model;                                       // empty: the default model
  std::variant<std::string, std::vector<TokenId>> prompt;  // text, or tokens used exactly as given
  SamplingParams sampling;
  std::optional<int32_t> max_tokens;
  bool ignore_eos = false;
};

enum class FinishReason : uint8_t { kStop, kLength, kContext };
std::string_view Name(FinishReason reason);

struct TokenChunk {
  std::vector<TokenId> ids;
  std::string text;  // whole UTF-8 characters only
};

struct GenerateResult {
  FinishReason reason = FinishReason::kStop;
  int32_t prompt_tokens = 0;
  int32_t cached_prompt_tokens = 0;  // of those, what needed no prefill
  int32_t generated_tokens = 0;
  int32_t decode_steps = 0;  // that gave the tokens after the first
  int32_t draft_tokens = 0;  // guesses that those steps verified
  int32_t draft_tokens_accepted = 0;
  uint64_t seed = 0;
  std::string model;
  Timings timings;
};

// Where generated tokens go. Implemented by the server. Called on the engine's loop thread, never
// concurrently for one request, and must not block. OnFinished comes exactly once and last; where
// its status is not OK the result holds what was counted until then.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnTokens(TokenChunk chunk) = 0;
  virtual void OnFinished(absl::Status status, GenerateResult result) = 0;
};

}  // namespace baton
