#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/request/chat_prompt.h"
#include "engine/request/hints.h"
#include "engine/request/route.h"

namespace baton {

// How the next token is chosen. Logits pass, in this order: bias, repetition, presence and
// frequency penalty, then top_k, top_p, min_p, temperature.
struct SamplingParams {
  float temperature = 0;                     // 0: greedy; else up to 100
  int32_t top_k = 0;                         // 0: all
  float top_p = 1;                           // (0, 1]
  float min_p = 0;                           // [0, 1]
  std::optional<uint64_t> seed = {};         // drawn at random where absent
  std::map<TokenId, float> logit_bias = {};  // added: -100 to 100, at most 1,024 of them
  float repetition_penalty = 1;              // 0.01 to 100; 1: off
  int32_t penalty_last_n = 64;               // tokens it looks at: to 1,048,576; -1: all
  float presence_penalty = 0;                // -2 to 2
  float frequency_penalty = 0;               // -2 to 2
};

// What ends a text beside end-of-text and max_tokens.
struct StopConditions {
  std::vector<std::string> strings = {};  // at most 16, each 1 to 256 bytes
  std::vector<TokenId> tokens = {};       // at most 1,024
  bool include = false;                   // what ended the text is delivered, too
  int32_t min_tokens = 0;                 // the first so many end nothing
};

// What a generated text must look like. Each of its tokens continues a text that can match; the
// model's end-of-text comes only where it does, and where no more text can follow, the text ends.
struct TextConstraint {
  enum class Kind : uint8_t {
    kNone,
    kGrammar,     // `text` is a grammar in GBNF
    kJsonSchema,  // `text` is a JSON schema
    kJsonObject,  // any JSON object
  };
  Kind kind = Kind::kNone;
  std::string text = {};
};
// The request's field that asks for it: "grammar", "json_schema" or "json_object".
std::string_view FieldOf(TextConstraint::Kind kind);

struct GenerateRequest {
  Envelope envelope = {};
  std::string model = {};  // empty: the default model
  // Text, tokens used exactly as given, or messages for the model's chat template.
  std::variant<std::string, std::vector<TokenId>, ChatPrompt> prompt = {};
  SamplingParams sampling = {};
  std::optional<int32_t> max_tokens = {};
  bool ignore_eos = false;
  StopConditions stop = {};
  TextConstraint constraint = {};
  std::optional<int32_t> logprobs = {};  // alternatives beside each token's own, 0 to 20
  int32_t completions = 1;               // 1 to 16
  bool echo = false;                     // deliver the prompt, too
};

// INVALID_ARGUMENT names field, limit and value. What depends on the model is checked later.
absl::Status ValidateSampling(const SamplingParams& params);
absl::Status ValidateStop(const StopConditions& stop);
absl::Status ValidateLogprobs(std::optional<int32_t> logprobs);
absl::Status ValidateCompletions(int32_t completions);
absl::Status ValidateGenerate(const GenerateRequest& request);

// kStop: the model's end-of-text, or nothing can follow under the constraint; kStopString,
// kStopToken: the request's own.
enum class FinishReason : uint8_t { kStop, kLength, kContext, kStopString, kStopToken };
std::string_view Name(FinishReason reason);

struct TokenLogprob {
  TokenId id = 0;
  float logprob = 0;      // natural, of the softmax over the model's own logits
  std::string text = {};  // what it spells, bytes; empty for special tokens
};

struct TokenLogprobs {
  TokenLogprob token;
  std::vector<TokenLogprob> top = {};  // the most likely tokens, best first
};

struct TokenChunk {
  std::vector<TokenId> ids = {};
  std::string text = {};  // whole UTF-8 characters only; behind the ids by what is held back
  int32_t index = 0;      // of the completion
  std::vector<TokenLogprobs> logprobs = {};  // one per id, where asked for
};

// A piece of the prompt.
struct PromptChunk {
  std::vector<TokenId> ids = {};
  std::string text = {};
  // Where asked for: one per id, but none for the prompt's first.
  std::vector<TokenLogprobs> logprobs = {};
};

struct GenerateResult {
  FinishReason reason = FinishReason::kStop;
  int32_t prompt_tokens = 0;
  int32_t cached_prompt_tokens = 0;  // of those, what needed no prefill
  int32_t generated_tokens = 0;
  int32_t decode_steps = 0;  // that gave the tokens after the first
  int32_t draft_tokens = 0;  // guesses that those steps verified
  int32_t draft_tokens_accepted = 0;
  int32_t preemptions = 0;  // how often its KV memory was taken and computed again
  uint64_t seed = 0;
  std::string model = {};
  Timings timings = {};
  int32_t index = 0;  // of the completion
  // The string or token that ended it, if one did; end-of-text is a token.
  std::variant<std::monostate, std::string, TokenId> stop = {};
};

// Where generated tokens go. Implemented by the server. Called on the engine's loop thread, never
// concurrently for one request, and must not block.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // The prompt, where its echo was asked for: before any tokens.
  virtual void OnPrompt(PromptChunk chunk) = 0;
  virtual void OnTokens(TokenChunk chunk) = 0;
  // One of the completions has come to its end.
  virtual void OnCompletion(GenerateResult result) = 0;
  // Comes exactly once and last; OK: after all completions.
  virtual void OnFinished(absl::Status status) = 0;
};

}  // namespace baton
