#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/model_report.h"
#include "engine/request/embed_request.h"
#include "engine/request/generate_request.h"
#include "server/openai_requests.h"

// What OpenAI's HTTP API answers with, as JSON text.
namespace baton {

// What every object of an answer says.
struct OpenAiHeader {
  bool chat = false;
  std::string id;       // "chatcmpl-..." or "cmpl-..."
  int64_t created = 0;  // seconds since 1970
  std::string model;
};

struct OpenAiUsage {
  int64_t prompt_tokens = 0;
  int64_t cached_prompt_tokens = 0;
  int64_t completion_tokens = 0;
};

// One choice of an answer, or what a chunk of a stream adds to it.
struct OpenAiChoice {
  int64_t index = 0;
  std::string text = {};
  bool begins = false;  // of a chat's stream: the chunk that names the role
  // Where log probabilities are wanted. Of an echoed prompt the first token has none.
  struct Token {
    TokenLogprobs logprobs;
    bool has_logprob = true;
  };
  std::vector<Token> tokens = {};
  int64_t text_offset = 0;         // characters of the choice before tokens[0]; of completions
  std::string finish_reason = {};  // empty: not yet
};

std::string_view FinishReasonOf(FinishReason reason);
// Characters of UTF-8 text.
int64_t CharactersOf(std::string_view text);

// The whole answer.
std::string AnswerJson(const OpenAiHeader& header, const std::vector<OpenAiChoice>& choices,
                       bool logprobs, const OpenAiUsage& usage);
// One event of a stream, "data: {...}\n\n". `with_usage`: the client asked for usage, which comes
// in the last chunk and is null in all others.
std::string ChunkEvent(const OpenAiHeader& header, const OpenAiChoice& choice, bool logprobs,
                       bool with_usage);
std::string UsageEvent(const OpenAiHeader& header, const OpenAiUsage& usage);
std::string ErrorEvent(const absl::Status& status);
inline constexpr std::string_view kDoneEvent = "data: [DONE]\n\n";

std::string EmbeddingsJson(const EmbedResult& result, bool base64);
std::string ModelJson(const ModelReport& model, int64_t created);
std::string ModelsJson(const std::vector<ModelReport>& models, int64_t created);

}  // namespace baton
