#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/request/embed_request.h"
#include "engine/request/generate_request.h"

// Bodies of OpenAI's HTTP API as the engine's requests. Fields that OpenAI has and that change
// nothing here (user, store, metadata ...) are ignored, as unknown ones are; null is as if absent.
// INVALID_ARGUMENT names a field that has the wrong type, is out of its bounds, or asks for what is
// not served. Beside OpenAI's fields there are those that vLLM's users know: top_k, min_p,
// repetition_penalty, ignore_eos, min_tokens, stop_token_ids, include_stop_str_in_output,
// guided_grammar (GBNF), chat_template, chat_template_kwargs, add_generation_prompt,
// continue_final_message.
namespace baton {

struct GenerationRequest {
  bool chat = false;                      // else a completion
  std::vector<GenerateRequest> requests;  // one for each prompt, alike in all else
  bool stream = false;
  bool include_usage = false;       // of a stream, at its end
  std::optional<int32_t> logprobs;  // alternatives, where log probabilities are wanted
};

struct EmbeddingsRequest {
  EmbedRequest request;
  bool base64 = false;                // little-endian f32 instead of numbers
  std::optional<int32_t> dimensions;  // that the client expects
};

absl::StatusOr<GenerationRequest> ParseChatCompletion(std::string_view body, Envelope envelope);
absl::StatusOr<GenerationRequest> ParseCompletion(std::string_view body, Envelope envelope);
absl::StatusOr<EmbeddingsRequest> ParseEmbeddings(std::string_view body, Envelope envelope);

}  // namespace baton
