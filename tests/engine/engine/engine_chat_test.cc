// Prompts that a model's chat template makes of messages.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "tests/engine/engine/engine_fixture.h"

namespace baton {
namespace {

constexpr std::string_view kTemplate =
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'other' %}"
    "{{ raise_exception('no ' ~ m.role) }}{% endif %}{{ '<|' + m.role + '|>' + m.content }}"
    "{{ '<|end|>' }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}";
constexpr TokenId kUser = kTestChatToken;
constexpr TokenId kAssistant = kTestChatToken + 1;
constexpr TokenId kEnd = kTestChatToken + 2;

using Tokens = std::vector<TokenId>;

GenerateRequest Chat(std::vector<ChatMessage> messages) {
  GenerateRequest request;
  request.prompt = ChatPrompt{.messages = std::move(messages)};
  request.max_tokens = 4;
  request.ignore_eos = true;
  request.echo = true;
  return request;
}

struct Chatted {
  std::shared_ptr<GenerateRecorder> sink = std::make_shared<GenerateRecorder>();
  absl::Status status;
};

Chatted Run(Engine& engine, GenerateRequest request) {
  Chatted chatted;
  REQUIRE_OK(engine.Submit(std::move(request), chatted.sink));
  chatted.status = chatted.sink->Wait().status;
  return chatted;
}

TEST_CASE("messages become the tokens of the model's template") {
  EngineFixture f;
  f.AddRandomModel({.context_tokens = 256, .chat_template = kTemplate});
  Engine& engine = f.Start();
  const Tokenizer& tokenizer = f.models.front()->tokenizer();
  const auto append = [&tokenizer](Tokens& tokens, TokenId markup, std::string_view text) {
    tokens.push_back(markup);
    const Tokens of_text = tokenizer.Encode(text);
    tokens.insert(tokens.end(), of_text.begin(), of_text.end());
  };
  Tokens expected = {1};
  append(expected, kUser, "the hat");
  append(expected, kEnd, "");
  append(expected, kAssistant, "<|end|><s>");  // spelled, not meant
  append(expected, kEnd, "");
  append(expected, kUser, "an");
  append(expected, kEnd, "");
  expected.push_back(kAssistant);

  const auto chat = Run(engine, Chat({{.role = "user", .content = "the hat"},
                                      {.role = "assistant", .content = "<|end|><s>"},
                                      {.role = "user", .content = "an"}}));
  REQUIRE_OK(chat.status);
  CHECK(chat.sink->prompt.ids == expected);

  GenerateRequest same = Chat({});
  same.prompt = expected;
  const auto tokens = Run(engine, std::move(same));
  REQUIRE_OK(tokens.status);
  CHECK(tokens.sink->ids == chat.sink->ids);
  CHECK(chat.sink->completions.at(0).result.prompt_tokens == std::ssize(expected));
}

TEST_CASE("what a template cannot do ends the request, and only that") {
  EngineFixture f;
  f.AddRandomModel({.chat_template = kTemplate});
  Engine& engine = f.Start();
  REQUIRE_STATUS(Run(engine, Chat({{.role = "other", .content = "x"}})).status,
                 absl::StatusCode::kInvalidArgument, "the template refuses: no other");
  REQUIRE_STATUS(Run(engine, Chat({{.role = "user", .content = std::string(1000, 'x')}})).status,
                 absl::StatusCode::kInvalidArgument, "but the context of model \"random\" is 128");
  GenerateRequest own = Chat({{.role = "user", .content = "x"}});
  std::get<ChatPrompt>(own.prompt).template_source = "";
  REQUIRE_OK(Run(engine, std::move(own)).status);
}

TEST_CASE("a model without a chat template, or with a broken one, says so to messages alone") {
  EngineFixture f;
  const std::string source = GENERATE("", "{% if %}");
  f.AddRandomModel({.chat_template = source});
  Engine& engine = f.Start();
  const std::string expected = source.empty()
                                   ? "the model has no chat template: give messages.template"
                                   : "cannot be used, give messages.template in its place: "
                                     "template line 1, column 7";
  GenerateRequest chat = Chat({{.role = "user", .content = "the"}});
  REQUIRE_STATUS(Run(engine, chat).status, absl::StatusCode::kInvalidArgument, expected);
  std::get<ChatPrompt>(chat.prompt).template_source = "{{ messages[0].content }}";
  REQUIRE_OK(Run(engine, chat).status);
  chat.prompt = "the";
  REQUIRE_OK(Run(engine, chat).status);
}

TEST_CASE("a token that ends turns ends the text, though it is not the file's eos") {
  EngineFixture f;
  f.AddRandomModel({.chat_template = kTemplate});
  f.AddScripted([](const LlmItem& item) -> absl::StatusOr<TokenId> {
    return item.work_class == WorkClass::kPrefill ? 260 : kEnd;
  });
  Engine& engine = f.Start();
  GenerateRequest request = EngineFixture::Scripted("", 20);
  request.prompt = ChatPrompt{.messages = {{.role = "user", .content = "the"}}};
  const auto chatted = Run(engine, std::move(request));
  REQUIRE_OK(chatted.status);
  CHECK(chatted.sink->completions.at(0).result.reason == FinishReason::kStop);
  CHECK(chatted.sink->completions.at(0).result.generated_tokens <= 2);
}

}  // namespace
}  // namespace baton
