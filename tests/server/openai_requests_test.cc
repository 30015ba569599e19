#include "server/openai_requests.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <string>

#include "server/json_text.h"
#include "server/openai_errors.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

GenerateRequest Chat(const std::string& body) {
  auto parsed = ParseChatCompletion(body, {});
  INFO(body);
  REQUIRE_OK(parsed);
  return parsed->requests[0];
}
std::string WithMessages(const std::string& fields) {
  return R"({"messages": [{"role": "user", "content": "hi"}])" +
         (fields.empty() ? "" : ", " + fields) + "}";
}

// The answer's error object.
nlohmann::json ErrorOf(const absl::Status& status) {
  return nlohmann::json::parse(OpenAiErrorBody(status))["error"];
}

TEST_CASE("a chat's fields and their defaults") {
  const GenerateRequest plain = Chat(WithMessages(""));
  CHECK(plain.model.empty());
  CHECK(plain.sampling.temperature == 1);
  CHECK(plain.max_tokens == std::numeric_limits<int32_t>::max());
  CHECK_FALSE(plain.logprobs.has_value());
  const auto& chat = std::get<ChatPrompt>(plain.prompt);
  REQUIRE(chat.messages.size() == 1);
  CHECK(chat.messages[0].content == "hi");
  CHECK(chat.add_generation_prompt);

  const GenerateRequest full = Chat(WithMessages(
      R"("model": "m", "temperature": 0.5, "top_p": 0.9, "n": 3, "seed": -2, "stop": "x",
         "presence_penalty": 1, "frequency_penalty": -1, "logit_bias": {"7": -100, "9": 2.5},
         "max_tokens": 5, "max_completion_tokens": 6, "logprobs": true, "top_logprobs": 4,
         "top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1, "ignore_eos": true,
         "min_tokens": 2, "stop_token_ids": [1, 2], "include_stop_str_in_output": true,
         "user": "u", "store": null, "metadata": {}, "no_such_field": [1])"));
  CHECK(full.model == "m");
  CHECK(full.sampling.temperature == 0.5f);
  CHECK(full.sampling.top_p == 0.9f);
  CHECK(full.completions == 3);
  CHECK(full.sampling.seed == static_cast<uint64_t>(-2));
  CHECK(full.stop.strings == std::vector<std::string>{"x"});
  CHECK(full.sampling.presence_penalty == 1);
  CHECK(full.sampling.frequency_penalty == -1);
  CHECK(full.sampling.logit_bias == std::map<TokenId, float>{{7, -100.f}, {9, 2.5f}});
  CHECK(full.max_tokens == 6);
  CHECK(full.logprobs == 4);
  CHECK(full.sampling.top_k == 40);
  CHECK(full.stop.tokens == std::vector<TokenId>{1, 2});
  CHECK(full.stop.include);
  CHECK(full.stop.min_tokens == 2);
  CHECK(full.ignore_eos);
}

TEST_CASE("messages are text, in one piece or several, with the calls and answers of tools") {
  const GenerateRequest request = Chat(R"({"messages": [
      {"role": "developer", "content": [{"type": "text", "text": "be "},
                                        {"type": "text", "text": "brief"}]},
      {"role": "assistant", "content": null, "tool_calls": [
          {"id": "c1", "type": "function",
           "function": {"name": "add", "arguments": "{\"a\": 1}"}}]},
      {"role": "tool", "tool_call_id": "c1", "content": "2"}],
      "tools": [{"type": "function", "function": {"name": "add", "b": 1, "a": 2}}],
      "tool_choice": "auto"})");
  const auto& chat = std::get<ChatPrompt>(request.prompt);
  REQUIRE(chat.messages.size() == 3);
  CHECK(chat.messages[0].role == "system");
  CHECK(chat.messages[0].content == "be brief");
  CHECK_FALSE(chat.messages[1].content.has_value());
  CHECK(nlohmann::json::parse(*chat.messages[1].tool_calls)[0]["function"]["arguments"]["a"] == 1);
  CHECK(chat.messages[2].tool_call_id == "c1");
  CHECK(chat.tools == R"([{"type": "function", "function": {"name": "add", "b": 1, "a": 2}}])");
}

TEST_CASE("a schema keeps the order of its properties") {
  const std::string schema = R"({"type": "object", "properties": {"z": {}, "a": {}}})";
  const GenerateRequest request = Chat(WithMessages(
      R"("response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": true,
      "schema": )" +
      schema + "}}"));
  CHECK(request.constraint.kind == TextConstraint::Kind::kJsonSchema);
  CHECK(request.constraint.text == schema);
  CHECK(Chat(WithMessages(R"("response_format": {"type": "json_object"})")).constraint.kind ==
        TextConstraint::Kind::kJsonObject);
  CHECK(Chat(WithMessages(R"("response_format": {"type": "text"})")).constraint.kind ==
        TextConstraint::Kind::kNone);
}

TEST_CASE("every mistake names its field") {
  struct Case {
    std::string fields;
    std::string param;
    std::string says;
  };
  const Case cases[] = {
      {R"("temperature": "hot")", "temperature", "must be a number, but is a string"},
      {R"("temperature": 101)", "temperature", "0 to 100"},
      {R"("top_p": 0)", "top_p", "above 0"},
      {R"("n": 1.5)", "n", "an integer, but is a number"},
      {R"("n": 17)", "n", "1 to 16"},
      {R"("n": 99999999999)", "n", "at most 2147483647"},
      {R"("max_tokens": 0)", "max_tokens", "at least 1"},
      {R"("stop": [1])", "stop[0]", "a string, but is an integer"},
      {R"("stop": {"a": 1})", "stop", "a string or an array"},
      {R"("stop": [""])", "stop[0]", "1 to 256 bytes"},
      {R"("logit_bias": {"a": 1})", "logit_bias[a]", "token id"},
      {R"("logit_bias": {"1": true})", "logit_bias[1]", "a number, but is a boolean"},
      {R"("logit_bias": {"1": 101})", "logit_bias[1]", "-100 to 100"},
      {R"("logprobs": 3)", "logprobs", "a boolean"},
      {R"("logprobs": true, "top_logprobs": 21)", "top_logprobs", "0 to 20"},
      {R"("top_logprobs": 2)", "top_logprobs", "where logprobs is true"},
      {R"("stream": 1)", "stream", "a boolean"},
      {R"("stream_options": {})", "stream_options", "where stream is true"},
      {R"("stream": true, "stream_options": {"include_usage": "yes"})",
       "stream_options.include_usage", "a boolean"},
      {R"("seed": 1.5)", "seed", "an integer"},
      {R"("response_format": "json")", "response_format", "an object"},
      {R"("response_format": {"type": "yaml"})", "response_format.type", "json_schema"},
      {R"("response_format": {"type": "json_schema"})", "response_format.json_schema", "given"},
      {R"("response_format": {"type": "json_schema", "json_schema": {"schema": 1}})",
       "response_format.json_schema.schema", "an object"},
      {R"("tool_choice": "required")", "tool_choice", "auto or none"},
      {R"("tools": 1)", "tools", "an array"},
      {R"("audio": {})", "audio", "not served"},
      {R"("model": 1)", "model", "a string"},
  };
  for (const Case& c : cases) {
    INFO(c.fields);
    const auto parsed = ParseChatCompletion(WithMessages(c.fields), {});
    REQUIRE(parsed.status().code() == absl::StatusCode::kInvalidArgument);
    const nlohmann::json error = ErrorOf(parsed.status());
    CHECK(error["param"] == c.param);
    CHECK_THAT(error["message"].get<std::string>(), Catch::Contains(c.says));
    CHECK(error["type"] == "invalid_request_error");
    CHECK(error["code"].is_null());
  }
  const std::pair<std::string, std::string> messages[] = {
      {R"({})", "messages"},
      {R"({"messages": []})", "messages"},
      {R"({"messages": {}})", "messages"},
      {R"({"messages": [1]})", "messages[0]"},
      {R"({"messages": [{"content": "x"}]})", "messages[0].role"},
      {R"({"messages": [{"role": "user"}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": 1}]})", "messages[0].content"},
      {R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})",
       "messages[0].content[0].type"},
      {R"({"messages": [{"role": "user", "content": [{"type": "text"}]}]})",
       "messages[0].content[0].text"},
  };
  for (const auto& [body, param] : messages) {
    INFO(body);
    const auto parsed = ParseChatCompletion(body, {});
    REQUIRE_FALSE(parsed.ok());
    CHECK(ErrorOf(parsed.status())["param"] == param);
  }
}

TEST_CASE("bodies that are no JSON object are refused") {
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("{"), std::string("{\"a\": \"\xff\"}"),
        std::string("{\"n\": 1e999}"), std::string("{\"a\": \"\\ud800\"}")}) {
    INFO(body);
    CHECK(ParseChatCompletion(body, {}).status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(ParseCompletion(body, {}).status().code() == absl::StatusCode::kInvalidArgument);
    CHECK(ParseEmbeddings(body, {}).status().code() == absl::StatusCode::kInvalidArgument);
  }
  const std::string deep(1'000'000, '[');
  REQUIRE_STATUS(ParseCompletion("{\"x\": " + deep, {}), absl::StatusCode::kInvalidArgument,
                 "at most 128 within one another");
}

TEST_CASE("a completion's prompt has four shapes") {
  const auto parse = [](const std::string& prompt) {
    auto parsed = ParseCompletion("{\"prompt\": " + prompt + "}", {});
    INFO(prompt);
    REQUIRE_OK(parsed);
    return *std::move(parsed);
  };
  CHECK(std::get<std::string>(parse(R"("a")").requests[0].prompt) == "a");
  CHECK(parse(R"("a")").requests[0].max_tokens == 16);
  CHECK(parse(R"(["a", "b"])").requests.size() == 2);
  CHECK(std::get<std::string>(parse(R"(["a", "b"])").requests[1].prompt) == "b");
  CHECK(std::get<std::vector<TokenId>>(parse("[1, 2]").requests[0].prompt) ==
        std::vector<TokenId>{1, 2});
  CHECK(std::get<std::vector<TokenId>>(parse("[[1], [2, 3]]").requests[1].prompt) ==
        std::vector<TokenId>{2, 3});
  const std::pair<std::string, std::string> wrong[] = {{"1", "prompt"},
                                                       {"[]", "prompt"},
                                                       {"\"\"", "prompt"},
                                                       {"[[]]", "prompt[0]"},
                                                       {"[\"a\", 1]", "prompt[1]"},
                                                       {"[1, \"a\"]", "prompt[1]"},
                                                       {"[-1]", "prompt[0]"}};
  for (const auto& [prompt, param] : wrong) {
    INFO(prompt);
    const auto parsed = ParseCompletion("{\"prompt\": " + prompt + "}", {});
    REQUIRE_FALSE(parsed.ok());
    CHECK(ErrorOf(parsed.status())["param"] == param);
  }
  CHECK(ErrorOf(ParseCompletion(R"({"prompt": "a", "best_of": 2})", {}).status())["param"] ==
        "best_of");
  CHECK(ErrorOf(ParseCompletion(R"({"prompt": "a", "suffix": "b"})", {}).status())["param"] ==
        "suffix");
}

TEST_CASE("texts to embed") {
  auto parsed = ParseEmbeddings(
      R"({"model": "m", "input": ["a", "b"], "encoding_format": "base64", "dimensions": 8})", {});
  REQUIRE_OK(parsed);
  CHECK(parsed->request.texts == std::vector<std::string>{"a", "b"});
  CHECK(parsed->base64);
  CHECK(parsed->dimensions == 8);
  const std::pair<std::string, std::string> wrong[] = {
      {R"({})", "input"},
      {R"({"input": []})", "input"},
      {R"({"input": [""]})", "input[0]"},
      {R"({"input": [1, 2]})", "input[0]"},
      {R"({"input": "a", "encoding_format": "hex"})", "encoding_format"}};
  for (const auto& [body, param] : wrong) {
    INFO(body);
    CHECK(ErrorOf(ParseEmbeddings(body, {}).status())["param"] == param);
  }
}

TEST_CASE("values are found as they were written") {
  const std::string text =
      R"( { "a" : [1, {"x": "]}"}] , "b\u0063" : "s\"}" ,"c":{"d":-1.5e3},"c":{"d" : null} } )";
  CHECK(RawJsonValue(text, {"a"}) == R"([1, {"x": "]}"}])");
  CHECK(RawJsonValue(text, {"bc"}) == R"("s\"}")");
  CHECK(RawJsonValue(text, {"c", "d"}) == "null");
  CHECK(RawJsonValue(text, {"z"}).empty());
  CHECK(RawJsonValue(text, {"a", "x"}).empty());
  CHECK(RawJsonValue("", {"a"}).empty());
}

TEST_CASE("statuses become HTTP's codes with OpenAI's words") {
  const HttpReply full =
      OpenAiError(absl::ResourceExhaustedError("queue is full; retry in 1500 ms"));
  CHECK(full.code == 429);
  CHECK(full.headers == decltype(full.headers){{"Retry-After", "2"}, {"retry-after-ms", "1500"}});
  CHECK(OpenAiError(absl::UnauthenticatedError("x")).code == 401);
  CHECK(OpenAiError(absl::PermissionDeniedError("x")).code == 403);
  CHECK(OpenAiError(absl::UnavailableError("x")).code == 503);
  CHECK(OpenAiError(absl::DeadlineExceededError("x")).code == 504);
  CHECK(OpenAiError(absl::InternalError("x")).code == 500);
  const nlohmann::json none = ErrorOf(absl::NotFoundError("model \"x\" is not loaded"));
  CHECK(none["code"] == "model_not_found");
  CHECK(none["param"] == "model");
  CHECK(ErrorOf(absl::InvalidArgumentError("prompt has 9 tokens, but"))["code"] ==
        "context_length_exceeded");
  CHECK(ErrorOf(absl::InvalidArgumentError("sampling.top_k must be"))["param"] == "top_k");
  CHECK(ErrorOf(absl::InvalidArgumentError("give messages.template, or"))["message"] ==
        "give chat_template, or");
  CHECK_NOTHROW(ErrorOf(absl::InvalidArgumentError("\xff")));
}

}  // namespace
}  // namespace baton
