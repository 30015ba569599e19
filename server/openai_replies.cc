#include "server/openai_replies.h"

#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "engine/base/strings.h"
#include "server/openai_errors.h"
#include "server/version.h"

namespace baton {
namespace {

using Json = nlohmann::ordered_json;

static_assert(std::endian::native == std::endian::little);  // of base64 embeddings

std::string DumpJson(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string SseEvent(const Json& json) { return StrCat("data: ", DumpJson(json), "\n\n"); }

bool IsUtf8(std::string_view bytes) {
  // The JSON library's own judgement: what it would have to replace is none.
  const Json json(bytes);
  return json.dump(-1, ' ', false, Json::error_handler_t::ignore).size() ==
         json.dump(-1, ' ', false, Json::error_handler_t::replace).size();
}

// A token's text; where its bytes are no whole characters, as OpenAI writes those.
std::string TokenText(const std::string& bytes) {
  if (IsUtf8(bytes)) return bytes;
  std::string text = "bytes:";
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    text += "\\x";
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

Json BytesOf(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

// JSON has no infinity: a token that cannot come is as good as one that comes never.
double Finite(float logprob) { return logprob > -9999.f ? static_cast<double>(logprob) : -9999.0; }

Json ChatToken(const TokenLogprob& token) {
  return {{"token", TokenText(token.text)},
          {"logprob", Finite(token.logprob)},
          {"bytes", BytesOf(token.text)}};
}

Json ChatLogprobs(const OpenAiChoice& choice) {
  Json content = Json::array();
  for (const OpenAiChoice::Token& token : choice.tokens) {
    Json entry = ChatToken(token.logprobs.token);
    Json& top = entry["top_logprobs"] = Json::array();
    for (const TokenLogprob& other : token.logprobs.top) top.push_back(ChatToken(other));
    content.push_back(std::move(entry));
  }
  return {{"content", std::move(content)}, {"refusal", nullptr}};
}

Json CompletionLogprobs(const OpenAiChoice& choice) {
  Json tokens = Json::array();
  Json logprobs = Json::array();
  Json tops = Json::array();
  Json offsets = Json::array();
  int64_t offset = choice.text_offset;
  for (const OpenAiChoice::Token& token : choice.tokens) {
    const TokenLogprob& own = token.logprobs.token;
    tokens.push_back(TokenText(own.text));
    offsets.push_back(offset);
    offset += CharactersOf(own.text);
    if (!token.has_logprob) {
      logprobs.push_back(nullptr);
      tops.push_back(nullptr);
      continue;
    }
    logprobs.push_back(Finite(own.logprob));
    Json top = Json::object();
    for (const TokenLogprob& other : token.logprobs.top) {
      top[TokenText(other.text)] = Finite(other.logprob);
    }
    tops.push_back(std::move(top));
  }
  return {{"tokens", std::move(tokens)},
          {"token_logprobs", std::move(logprobs)},
          {"top_logprobs", std::move(tops)},
          {"text_offset", std::move(offsets)}};
}

Json LogprobsOf(const OpenAiHeader& header, const OpenAiChoice& choice, bool logprobs) {
  if (!logprobs || choice.tokens.empty()) return nullptr;
  return header.chat ? ChatLogprobs(choice) : CompletionLogprobs(choice);
}

Json ReasonOf(const OpenAiChoice& choice) {
  return choice.finish_reason.empty() ? Json(nullptr) : Json(choice.finish_reason);
}

Json HeaderJson(const OpenAiHeader& header, std::string_view object) {
  return {{"id", header.id},
          {"object", object},
          {"created", header.created},
          {"model", header.model},
          {"system_fingerprint", StrCat("baton-", kVersion)}};
}

Json UsageJson(const OpenAiUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_prompt_tokens}}}};
}

std::string_view ChunkObject(const OpenAiHeader& header) {
  return header.chat ? "chat.completion.chunk" : "text_completion";
}

Json ModelObject(const ModelReport& model, int64_t created) {
  Json object = {{"id", model.name},
                 {"object", "model"},
                 {"created", created},
                 {"owned_by", "baton"},
                 {"kind", Name(model.kind)}};
  if (model.context_tokens > 0) object["max_model_len"] = model.context_tokens;
  return object;
}

}  // namespace

std::string_view FinishReasonOf(FinishReason reason) {
  switch (reason) {
    case FinishReason::kLength:
    case FinishReason::kContext:
      return "length";
    case FinishReason::kStop:
    case FinishReason::kStopString:
    case FinishReason::kStopToken:
      return "stop";
  }
  return "stop";
}

int64_t CharactersOf(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

std::string AnswerJson(const OpenAiHeader& header, const std::vector<OpenAiChoice>& choices,
                       bool logprobs, const OpenAiUsage& usage) {
  Json answer = HeaderJson(header, header.chat ? "chat.completion" : "text_completion");
  Json& list = answer["choices"] = Json::array();
  for (const OpenAiChoice& choice : choices) {
    Json entry = {{"index", choice.index}};
    if (header.chat) {
      entry["message"] = {{"role", "assistant"}, {"content", choice.text}, {"refusal", nullptr}};
    } else {
      entry["text"] = choice.text;
    }
    entry["logprobs"] = LogprobsOf(header, choice, logprobs);
    entry["finish_reason"] = ReasonOf(choice);
    list.push_back(std::move(entry));
  }
  answer["usage"] = UsageJson(usage);
  return DumpJson(answer);
}

std::string ChunkEvent(const OpenAiHeader& header, const OpenAiChoice& choice, bool logprobs,
                       bool with_usage) {
  Json chunk = HeaderJson(header, ChunkObject(header));
  Json entry = {{"index", choice.index}};
  if (header.chat) {
    Json delta = Json::object();
    if (choice.begins) delta["role"] = "assistant";
    if (choice.begins || !choice.text.empty() || !choice.tokens.empty()) {
      delta["content"] = choice.text;
    }
    entry["delta"] = std::move(delta);
  } else {
    entry["text"] = choice.text;
  }
  entry["logprobs"] = LogprobsOf(header, choice, logprobs);
  entry["finish_reason"] = ReasonOf(choice);
  chunk["choices"] = Json::array({std::move(entry)});
  if (with_usage) chunk["usage"] = nullptr;
  return SseEvent(chunk);
}

std::string UsageEvent(const OpenAiHeader& header, const OpenAiUsage& usage) {
  Json chunk = HeaderJson(header, ChunkObject(header));
  chunk["choices"] = Json::array();
  chunk["usage"] = UsageJson(usage);
  return SseEvent(chunk);
}

std::string ErrorEvent(const absl::Status& status) {
  return StrCat("data: ", OpenAiErrorBody(status), "\n\n");
}

std::string EmbeddingsJson(const EmbedResult& result, bool base64) {
  // Numbers as the shortest text of the float, which a JSON library would write as doubles.
  std::string json = R"({"object":"list","data":[)";
  for (size_t i = 0; i < result.embeddings.size(); ++i) {
    const std::vector<float>& values = result.embeddings[i];
    json += StrCat(i == 0 ? "" : ",", R"({"object":"embedding","index":)", i, R"(,"embedding":)");
    if (base64) {
      const absl::string_view bytes(reinterpret_cast<const char*>(values.data()),
                                    values.size() * sizeof(float));
      json += StrCat('"', absl::Base64Escape(bytes), '"');
    } else {
      json += '[';
      for (size_t k = 0; k < values.size(); ++k) {
        if (k > 0) json += ',';
        json += StrCat(values[k]);
      }
      json += ']';
    }
    json += '}';
  }
  int64_t tokens = 0;
  for (const EmbedInput& input : result.inputs) tokens += input.tokens;
  json += StrCat(R"(],"model":)", DumpJson(result.model), R"(,"usage":{"prompt_tokens":)", tokens,
                 R"(,"total_tokens":)", tokens, "}}");
  return json;
}

std::string ModelJson(const ModelReport& model, int64_t created) {
  return DumpJson(ModelObject(model, created));
}

std::string ModelsJson(const std::vector<ModelReport>& models, int64_t created) {
  Json data = Json::array();
  for (const ModelReport& model : models) data.push_back(ModelObject(model, created));
  return DumpJson({{"object", "list"}, {"data", std::move(data)}});
}

}  // namespace baton
