#include "server/openai_requests.h"

#include <charconv>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "server/json_text.h"
#include "server/openai_errors.h"

namespace baton {
namespace {

using Json = nlohmann::json;

constexpr size_t kPromptsMax = 128;
constexpr size_t kTextsMax = 1024;
constexpr int64_t kPromptBytesMax = 4 << 20;
constexpr int64_t kEmbedBytesMax = 1 << 20;
constexpr size_t kSchemaBytesMax = 256 << 10;
constexpr size_t kGrammarBytesMax = 512 << 10;
constexpr int32_t kDefaultCompletionTokens = 16;  // OpenAI's default

std::string_view TypeOf(const Json& value) {
  if (value.is_number_integer()) return "an integer";
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_float:
      return "a number";
    default:
      return "null";
  }
}

absl::Status WrongType(std::string_view field, std::string_view wanted, const Json& value) {
  return FieldError(field, StrCat("must be ", wanted, ", but is ", TypeOf(value)));
}

// Reads the fields of one object; the first mistake stays in status(), and what follows it is not
// read. Fields that are absent or null leave their variables as they are.
class Fields {
 public:
  // `prefix`: what stands before a field's name in messages, such as "messages[2].".
  Fields(const Json& object, std::string prefix) : object_(object), prefix_(std::move(prefix)) {}

  const absl::Status& status() const { return status_; }
  std::string NameOf(std::string_view field) const { return prefix_ + std::string(field); }
  void Fail(absl::Status status) {
    if (status_.ok()) status_ = std::move(status);
  }
  void Fail(std::string_view field, std::string_view what) {
    Fail(FieldError(NameOf(field), what));
  }

  // Null where it is absent, null, or something is wrong already.
  const Json* Find(std::string_view field) const {
    if (!status_.ok()) return nullptr;
    const auto it = object_.find(field);
    return it == object_.end() || it->is_null() ? nullptr : &*it;
  }
  const Json* FindObject(std::string_view field) {
    return FindAs(field, "an object", &Json::is_object);
  }
  const Json* FindArray(std::string_view field) {
    return FindAs(field, "an array", &Json::is_array);
  }

  template <class Number>
  void ReadInteger(std::string_view field, std::optional<Number>& out) {
    const Json* value = Find(field);
    if (value == nullptr) return;
    if (!value->is_number_integer()) return Fail(WrongType(NameOf(field), "an integer", *value));
    const bool fits =
        value->is_number_unsigned()
            ? value->get<uint64_t>() <= static_cast<uint64_t>(std::numeric_limits<Number>::max())
            : value->get<int64_t>() >= static_cast<int64_t>(std::numeric_limits<Number>::min()) &&
                  value->get<int64_t>() <= static_cast<int64_t>(std::numeric_limits<Number>::max());
    if (!fits) {
      return Fail(field, StrCat("must be at most ", std::numeric_limits<Number>::max(),
                                " and at least ", std::numeric_limits<Number>::min()));
    }
    out = value->get<Number>();
  }
  void ReadInteger(std::string_view field, int32_t& out) {
    std::optional<int32_t> read;
    ReadInteger(field, read);
    out = read.value_or(out);
  }
  void ReadFloat(std::string_view field, float& out) {
    const Json* value = Find(field);
    if (value == nullptr) return;
    if (!value->is_number()) return Fail(WrongType(NameOf(field), "a number", *value));
    out = value->get<float>();
  }
  void ReadBool(std::string_view field, bool& out) {
    const Json* value = Find(field);
    if (value == nullptr) return;
    if (!value->is_boolean()) return Fail(WrongType(NameOf(field), "a boolean", *value));
    out = value->get<bool>();
  }
  void ReadString(std::string_view field, std::string& out) {
    std::optional<std::string> read;
    ReadString(field, read);
    if (read.has_value()) out = *std::move(read);
  }
  void ReadString(std::string_view field, std::optional<std::string>& out) {
    const Json* value = Find(field);
    if (value == nullptr) return;
    if (!value->is_string()) return Fail(WrongType(NameOf(field), "a string", *value));
    out = value->get<std::string>();
  }

 private:
  const Json* FindAs(std::string_view field, std::string_view wanted,
                     bool (Json::*is)() const noexcept) {
    const Json* value = Find(field);
    if (value == nullptr || (value->*is)()) return value;
    Fail(WrongType(NameOf(field), wanted, *value));
    return nullptr;
  }

  const Json& object_;
  const std::string prefix_;
  absl::Status status_;
};

absl::StatusOr<Json> ParseBody(std::string_view body) {
  if (body.empty()) return absl::InvalidArgumentError("the body is empty, but must be JSON");
  RETURN_IF_ERROR(CheckJsonDepth(body));
  Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError("the body is not JSON, or not UTF-8");
  }
  if (!json.is_object()) {
    return absl::InvalidArgumentError(StrCat("the body must be an object, but is ", TypeOf(json)));
  }
  return json;
}

// A token id of an array of them.
absl::StatusOr<TokenId> ToTokenId(const std::string& field, const Json& value) {
  if (!value.is_number_integer()) return WrongType(field, "an integer", value);
  const auto id = value.get<int64_t>();
  if (id < 0 || id > std::numeric_limits<TokenId>::max()) {
    return FieldError(field, StrCat("must be a token id, but is ", id));
  }
  return static_cast<TokenId>(id);
}

absl::StatusOr<std::vector<TokenId>> ToTokenIds(const std::string& field, const Json& array) {
  std::vector<TokenId> ids;
  ids.reserve(array.size());
  for (size_t i = 0; i < array.size(); ++i) {
    ASSIGN_OR_RETURN(const TokenId id, ToTokenId(StrCat(field, "[", i, "]"), array[i]));
    ids.push_back(id);
  }
  return ids;
}

// ---- what chats and completions share

void ReadStop(Fields& fields, GenerateRequest& request) {
  if (const Json* stop = fields.Find("stop"); stop != nullptr) {
    if (stop->is_string()) {
      request.stop.strings = {stop->get<std::string>()};
    } else if (stop->is_array()) {
      for (size_t i = 0; i < stop->size(); ++i) {
        if (!(*stop)[i].is_string()) {
          return fields.Fail(WrongType(StrCat("stop[", i, "]"), "a string", (*stop)[i]));
        }
        request.stop.strings.push_back((*stop)[i].get<std::string>());
      }
    } else {
      return fields.Fail(WrongType("stop", "a string or an array of strings", *stop));
    }
  }
  if (const Json* ids = fields.FindArray("stop_token_ids"); ids != nullptr) {
    absl::StatusOr<std::vector<TokenId>> tokens = ToTokenIds("stop_token_ids", *ids);
    if (!tokens.ok()) return fields.Fail(tokens.status());
    request.stop.tokens = *std::move(tokens);
  }
  fields.ReadBool("include_stop_str_in_output", request.stop.include);
  fields.ReadInteger("min_tokens", request.stop.min_tokens);
}

void ReadLogitBias(Fields& fields, SamplingParams& sampling) {
  const Json* biases = fields.FindObject("logit_bias");
  if (biases == nullptr) return;
  for (const auto& [key, value] : biases->items()) {
    const std::string field = StrCat("logit_bias[", Escaped(key), "]");
    TokenId id = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0) {
      return fields.Fail(FieldError(field, "must be named by a token id"));
    }
    if (!value.is_number()) return fields.Fail(WrongType(field, "a number", value));
    sampling.logit_bias[id] = value.get<float>();
  }
}

void ReadSampling(Fields& fields, SamplingParams& sampling) {
  sampling.temperature = 1;  // OpenAI's default, where the engine's is greedy
  fields.ReadFloat("temperature", sampling.temperature);
  fields.ReadFloat("top_p", sampling.top_p);
  fields.ReadInteger("top_k", sampling.top_k);
  if (sampling.top_k == -1) sampling.top_k = 0;  // vLLM's "all"
  fields.ReadFloat("min_p", sampling.min_p);
  fields.ReadFloat("repetition_penalty", sampling.repetition_penalty);
  fields.ReadFloat("presence_penalty", sampling.presence_penalty);
  fields.ReadFloat("frequency_penalty", sampling.frequency_penalty);
  std::optional<int64_t> seed;
  fields.ReadInteger("seed", seed);
  if (seed.has_value()) sampling.seed = static_cast<uint64_t>(*seed);
  ReadLogitBias(fields, sampling);
}

void ReadStream(Fields& fields, GenerationRequest& generation) {
  fields.ReadBool("stream", generation.stream);
  const Json* options = fields.FindObject("stream_options");
  if (options == nullptr) return;
  if (!generation.stream)
    return fields.Fail("stream_options", "is only allowed where stream is true");
  Fields of_options(*options, "stream_options.");
  of_options.ReadBool("include_usage", generation.include_usage);
  fields.Fail(of_options.status());
}

void SetConstraint(Fields& fields, std::string_view field, TextConstraint constraint,
                   size_t bytes_max, GenerateRequest& request) {
  if (constraint.kind != TextConstraint::Kind::kJsonObject &&
      (constraint.text.empty() || constraint.text.size() > bytes_max)) {
    return fields.Fail(
        field, StrCat("must be 1 to ", bytes_max, " bytes long, but is ", constraint.text.size()));
  }
  if (request.constraint.kind != TextConstraint::Kind::kNone) {
    return fields.Fail(field, "must not be given beside another constraint");
  }
  request.constraint = std::move(constraint);
}

void ReadConstraint(Fields& fields, std::string_view body, GenerateRequest& request) {
  using Kind = TextConstraint::Kind;
  if (std::optional<std::string> grammar; true) {
    fields.ReadString("guided_grammar", grammar);
    if (grammar.has_value()) {
      SetConstraint(fields, "guided_grammar", {Kind::kGrammar, *std::move(grammar)},
                    kGrammarBytesMax, request);
    }
  }
  const Json* format = fields.FindObject("response_format");
  if (format == nullptr) return;
  Fields of_format(*format, "response_format.");
  std::string type;
  of_format.ReadString("type", type);
  if (!of_format.status().ok()) return fields.Fail(of_format.status());
  if (type == "text") return;
  if (type == "json_object") {
    return SetConstraint(fields, "response_format", {.kind = Kind::kJsonObject}, 0, request);
  }
  if (type != "json_schema") {
    return fields.Fail(
        "response_format.type",
        StrCat("must be text, json_object or json_schema, but is \"", Escaped(type), "\""));
  }
  const Json* described = of_format.FindObject("json_schema");
  if (described == nullptr && of_format.status().ok()) {
    of_format.Fail("json_schema", "must be given where type is json_schema");
  }
  if (!of_format.status().ok()) return fields.Fail(of_format.status());
  Fields of_schema(*described, "response_format.json_schema.");
  if (of_schema.FindObject("schema") == nullptr) {
    of_schema.Fail("schema", "must be given");
    return fields.Fail(of_schema.status());
  }
  // As it was written: the text has a schema's properties in the schema's order.
  const std::string_view schema = RawJsonValue(body, {"response_format", "json_schema", "schema"});
  SetConstraint(fields, "response_format.json_schema.schema",
                {Kind::kJsonSchema, std::string(schema)}, kSchemaBytesMax, request);
}

void ReadCommon(Fields& fields, std::string_view body, GenerationRequest& generation,
                GenerateRequest& request) {
  fields.ReadString("model", request.model);
  ReadSampling(fields, request.sampling);
  ReadStop(fields, request);
  fields.ReadBool("ignore_eos", request.ignore_eos);
  fields.ReadInteger("n", request.completions);
  ReadStream(fields, generation);
  ReadConstraint(fields, body, request);
}

// What the engine checks of every request, in this API's words.
absl::Status Validate(const GenerateRequest& request) {
  RETURN_IF_ERROR(WithHttpFields(ValidateGenerate(request)));
  if (request.max_tokens.has_value() && *request.max_tokens < 1) {
    return FieldError("max_tokens", StrCat("must be at least 1, but is ", *request.max_tokens));
  }
  return absl::OkStatus();
}

// ---- chats

// The text of a message: a string, or an array of parts of it.
void ReadContent(Fields& fields, std::optional<std::string>& out) {
  const Json* content = fields.Find("content");
  if (content == nullptr) return;
  if (content->is_string()) {
    out = content->get<std::string>();
    return;
  }
  if (!content->is_array()) {
    return fields.Fail(
        WrongType(fields.NameOf("content"), "a string or an array of text parts", *content));
  }
  std::string text;
  for (size_t i = 0; i < content->size(); ++i) {
    const Json& part = (*content)[i];
    const std::string field = StrCat(fields.NameOf("content"), "[", i, "]");
    if (!part.is_object()) return fields.Fail(WrongType(field, "an object", part));
    Fields of_part(part, field + ".");
    std::string type;
    std::optional<std::string> piece;
    of_part.ReadString("type", type);
    of_part.ReadString(type == "refusal" ? "refusal" : "text", piece);
    if (of_part.status().ok() && type != "text" && type != "refusal") {
      of_part.Fail("type", StrCat("must be text, since models read nothing else, but is \"",
                                  Escaped(type), "\""));
    }
    if (of_part.status().ok() && !piece.has_value()) of_part.Fail("text", "must be given");
    if (!of_part.status().ok()) return fields.Fail(of_part.status());
    text += *piece;
  }
  out = std::move(text);
}

// The calls as templates expect them: their arguments are objects, where OpenAI has text of them.
void ReadToolCalls(Fields& fields, std::optional<std::string>& out) {
  const Json* calls = fields.FindArray("tool_calls");
  if (calls == nullptr) return;
  Json changed = *calls;
  for (size_t i = 0; i < changed.size(); ++i) {
    const std::string field = StrCat(fields.NameOf("tool_calls"), "[", i, "]");
    Json& call = changed[i];
    if (!call.is_object()) return fields.Fail(WrongType(field, "an object", call));
    const auto function = call.find("function");
    if (function == call.end() || !function->is_object()) {
      return fields.Fail(FieldError(field + ".function", "must be an object"));
    }
    const auto arguments = function->find("arguments");
    if (arguments == function->end() || !arguments->is_string()) continue;
    const std::string text = arguments->get<std::string>();
    absl::Status depth = CheckJsonDepth(text);
    Json parsed = depth.ok() ? Json::parse(text, nullptr, false) : Json(Json::value_t::discarded);
    if (!parsed.is_discarded()) *arguments = std::move(parsed);  // else it stays the text it is
  }
  out = changed.dump();
}

absl::StatusOr<ChatMessage> ToMessage(const Json& json, const std::string& field) {
  if (!json.is_object()) return WrongType(field, "an object", json);
  Fields fields(json, field + ".");
  ChatMessage message;
  fields.ReadString("role", message.role);
  if (message.role == "developer") message.role = "system";  // templates know the older name
  ReadContent(fields, message.content);
  fields.ReadString("name", message.name);
  ReadToolCalls(fields, message.tool_calls);
  fields.ReadString("tool_call_id", message.tool_call_id);
  fields.ReadString("reasoning_content", message.reasoning_content);
  RETURN_IF_ERROR(fields.status());
  return message;
}

// What the model may call goes to its template; its calls come as the text it writes.
void ReadTools(Fields& fields, std::string_view body, ChatPrompt& chat) {
  std::string choice = "auto";
  if (const Json* value = fields.Find("tool_choice"); value != nullptr) {
    choice = value->is_string() ? value->get<std::string>() : "a function";
  }
  if (choice != "auto" && choice != "none") {
    return fields.Fail(
        "tool_choice",
        StrCat("must be auto or none, since no call can be forced, but is ", Escaped(choice)));
  }
  if (fields.FindArray("tools") != nullptr && choice == "auto") {
    chat.tools = std::string(RawJsonValue(body, {"tools"}));
  }
}

absl::StatusOr<ChatPrompt> ReadChat(Fields& fields, const Json& json, std::string_view body) {
  ChatPrompt chat;
  const Json* messages = fields.FindArray("messages");
  RETURN_IF_ERROR(fields.status());
  if (messages == nullptr) return FieldError("messages", "must be given");
  for (size_t i = 0; i < messages->size(); ++i) {
    ASSIGN_OR_RETURN(ChatMessage message, ToMessage((*messages)[i], StrCat("messages[", i, "]")));
    chat.messages.push_back(std::move(message));
  }
  ReadTools(fields, body, chat);
  fields.ReadBool("continue_final_message", chat.continue_final_message);
  chat.add_generation_prompt = !chat.continue_final_message;
  fields.ReadBool("add_generation_prompt", chat.add_generation_prompt);
  fields.ReadString("chat_template", chat.template_source);
  if (fields.FindObject("chat_template_kwargs") != nullptr) {
    chat.template_arguments = std::string(RawJsonValue(body, {"chat_template_kwargs"}));
  }
  for (const char* unsupported : {"audio", "functions", "function_call", "web_search_options"}) {
    if (json.contains(unsupported) && !json[unsupported].is_null()) {
      return FieldError(unsupported, "is not served");
    }
  }
  RETURN_IF_ERROR(fields.status());
  return chat;
}

// ---- completions

// A prompt, or several: a string, token ids, or an array of either.
absl::StatusOr<std::vector<std::variant<std::string, std::vector<TokenId>, ChatPrompt>>> ToPrompts(
    const Json& prompt) {
  std::vector<std::variant<std::string, std::vector<TokenId>, ChatPrompt>> prompts;
  const auto text = [](const std::string& field, const Json& value) -> absl::StatusOr<std::string> {
    auto read = value.get<std::string>();
    if (read.empty() || std::ssize(read) > kPromptBytesMax) {
      return FieldError(
          field, StrCat("must be 1 to ", kPromptBytesMax, " bytes long, but is ", read.size()));
    }
    return read;
  };
  const auto tokens = [](const std::string& field,
                         const Json& value) -> absl::StatusOr<std::vector<TokenId>> {
    if (value.empty()) return FieldError(field, "must not be empty");
    return ToTokenIds(field, value);
  };
  if (prompt.is_string()) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), text("prompt", prompt));
    return prompts;
  }
  if (!prompt.is_array()) {
    return WrongType("prompt", "a string or an array", prompt);
  }
  if (!prompt.empty() && prompt[0].is_number()) {
    ASSIGN_OR_RETURN(prompts.emplace_back(), tokens("prompt", prompt));
    return prompts;
  }
  if (prompt.empty() || prompt.size() > kPromptsMax) {
    return FieldError("prompt",
                      StrCat("must have 1 to ", kPromptsMax, " items, but has ", prompt.size()));
  }
  for (size_t i = 0; i < prompt.size(); ++i) {
    const std::string field = StrCat("prompt[", i, "]");
    if (prompt[i].is_string()) {
      ASSIGN_OR_RETURN(prompts.emplace_back(), text(field, prompt[i]));
    } else if (prompt[i].is_array()) {
      ASSIGN_OR_RETURN(prompts.emplace_back(), tokens(field, prompt[i]));
    } else {
      return WrongType(field, "a string or an array of token ids", prompt[i]);
    }
  }
  return prompts;
}

}  // namespace

absl::StatusOr<GenerationRequest> ParseChatCompletion(std::string_view body, Envelope envelope) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body));
  Fields fields(json, "");
  GenerationRequest generation{.chat = true};
  GenerateRequest request{.envelope = std::move(envelope)};
  ReadCommon(fields, body, generation, request);
  // The newer name wins; without either, the text may fill the context.
  request.max_tokens = std::numeric_limits<int32_t>::max();
  fields.ReadInteger("max_tokens", request.max_tokens);
  fields.ReadInteger("max_completion_tokens", request.max_tokens);
  bool logprobs = false;
  fields.ReadBool("logprobs", logprobs);
  std::optional<int32_t> top_logprobs;
  fields.ReadInteger("top_logprobs", top_logprobs);
  if (logprobs) {
    request.logprobs = top_logprobs.value_or(0);
    if (*request.logprobs < 0 || *request.logprobs > 20) {
      fields.Fail("top_logprobs", StrCat("must be 0 to 20, but is ", *request.logprobs));
    }
  } else if (top_logprobs.value_or(0) > 0) {
    fields.Fail("top_logprobs", "is only allowed where logprobs is true");
  }
  generation.logprobs = request.logprobs;
  ASSIGN_OR_RETURN(request.prompt, ReadChat(fields, json, body));
  RETURN_IF_ERROR(fields.status());
  RETURN_IF_ERROR(Validate(request));
  generation.requests.push_back(std::move(request));
  return generation;
}

absl::StatusOr<GenerationRequest> ParseCompletion(std::string_view body, Envelope envelope) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body));
  Fields fields(json, "");
  GenerationRequest generation;
  GenerateRequest request{.envelope = std::move(envelope)};
  ReadCommon(fields, body, generation, request);
  request.max_tokens = kDefaultCompletionTokens;
  fields.ReadInteger("max_tokens", request.max_tokens);
  fields.ReadInteger("logprobs", request.logprobs);
  fields.ReadBool("echo", request.echo);
  std::optional<int32_t> best_of;
  fields.ReadInteger("best_of", best_of);
  if (best_of.value_or(request.completions) != request.completions) {
    fields.Fail("best_of", "must equal n: all completions are returned");
  }
  if (const Json* suffix = fields.Find("suffix"); suffix != nullptr && *suffix != "") {
    fields.Fail("suffix", "is not served");
  }
  generation.logprobs = request.logprobs;
  const Json* prompt = fields.Find("prompt");
  RETURN_IF_ERROR(fields.status());
  if (prompt == nullptr) return FieldError("prompt", "must be given");
  ASSIGN_OR_RETURN(auto prompts, ToPrompts(*prompt));
  RETURN_IF_ERROR(Validate(request));
  for (size_t i = 1; i < prompts.size(); ++i) generation.requests.push_back(request);
  generation.requests.push_back(std::move(request));
  for (size_t i = 0; i < prompts.size(); ++i) {
    generation.requests[i].prompt = std::move(prompts[i]);
  }
  return generation;
}

absl::StatusOr<EmbeddingsRequest> ParseEmbeddings(std::string_view body, Envelope envelope) {
  ASSIGN_OR_RETURN(const Json json, ParseBody(body));
  Fields fields(json, "");
  EmbeddingsRequest embeddings{.request = {.envelope = std::move(envelope)}};
  fields.ReadString("model", embeddings.request.model);
  std::string format = "float";
  fields.ReadString("encoding_format", format);
  if (format != "float" && format != "base64") {
    fields.Fail("encoding_format",
                StrCat("must be float or base64, but is \"", Escaped(format), "\""));
  }
  embeddings.base64 = format == "base64";
  fields.ReadInteger("dimensions", embeddings.dimensions);
  const Json* input = fields.Find("input");
  RETURN_IF_ERROR(fields.status());
  if (input == nullptr) return FieldError("input", "must be given");

  const auto add = [&](const std::string& field, const Json& text) -> absl::Status {
    if (text.is_number() || text.is_array()) {
      return FieldError(field, "must be text: token ids of another model's mean nothing here");
    }
    if (!text.is_string()) return WrongType(field, "a string", text);
    auto read = text.get<std::string>();
    if (read.empty() || std::ssize(read) > kEmbedBytesMax) {
      return FieldError(
          field, StrCat("must be 1 to ", kEmbedBytesMax, " bytes long, but is ", read.size()));
    }
    embeddings.request.texts.push_back(std::move(read));
    return absl::OkStatus();
  };
  if (!input->is_array()) {
    RETURN_IF_ERROR(add("input", *input));
    return embeddings;
  }
  if (input->empty() || input->size() > kTextsMax) {
    return FieldError("input",
                      StrCat("must have 1 to ", kTextsMax, " items, but has ", input->size()));
  }
  for (size_t i = 0; i < input->size(); ++i) {
    RETURN_IF_ERROR(add(StrCat("input[", i, "]"), (*input)[i]));
  }
  return embeddings;
}

}  // namespace baton
