#include "engine/model/chat/chat_templates.h"

#include <string>

#include "catch2/catch.hpp"
#include "tests/engine/model/chat/template_families.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr int64_t kNow = 1781524800;  // noon of 2026-06-15, UTC
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

ChatPrompt PromptOf(Conversation conversation) {
  ChatPrompt chat;
  switch (conversation) {
    case Conversation::kPlain:
      chat.messages = {{.role = "user", .content = "Hello there "}};
      break;
    case Conversation::kSystem:
      chat.messages = {{.role = "system", .content = "Be brief."},
                       {.role = "user", .content = "Hi!\n"},
                       {.role = "assistant", .content = "<think>\nhm\n</think>\n\nHello."},
                       {.role = "user", .content = "  Bye \"now\""}};
      break;
    case Conversation::kTools:
      chat.tools = kWeatherTools;
      chat.messages = {{.role = "user", .content = "Weather?"},
                       {.role = "assistant", .tool_calls = kWeatherCalls},
                       {.role = "tool",
                        .content = "{\"sky\": \"grey\"}",
                        .name = "get_weather",
                        .tool_call_id = "call00001"},
                       {.role = "assistant", .content = "Grey."},
                       {.role = "user", .content = "Thanks"}};
      break;
  }
  return chat;
}

ChatTemplates One(std::string_view source, std::string_view bos = "<s>",
                  std::string_view eos = "</s>") {
  return ChatTemplates({{.name = "default", .text = std::string(source)}},
                       {.bos = std::string(bos), .eos = std::string(eos)});
}

std::string Rendered(const ChatTemplates& templates, const ChatPrompt& chat) {
  REQUIRE_OK(ValidateChat(chat));
  const auto rendered = templates.Render(chat, kNow);
  REQUIRE_OK(rendered);
  return rendered->text.bytes();
}

TEST_CASE("templates of each family write what transformers writes") {
  for (const TemplateFamily& family : kTemplateFamilies) {
    const ChatTemplates templates = One(family.source, family.bos, family.eos);
    for (const FamilyRendering& rendering : family.renderings) {
      if (rendering.rendered.empty()) continue;
      ChatPrompt chat = PromptOf(rendering.conversation);
      chat.add_generation_prompt = rendering.add_generation_prompt;
      chat.template_arguments = rendering.arguments;
      INFO(family.name << " " << static_cast<int>(rendering.conversation));
      CHECK(Rendered(templates, chat) == rendering.rendered);
    }
  }
}

TEST_CASE("content, names, tools and arguments are the request's, markup is the template's") {
  ChatPrompt chat = PromptOf(Conversation::kTools);
  chat.template_arguments = R"({"extra": "E"})";
  const ChatTemplates templates = One(
      "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{{ m.name }}"
      "{{ m.tool_calls|tojson if m.tool_calls }}{% endfor %}{{ tools[0].function.name }}{{ extra "
      "}}");
  const auto rendered = templates.Render(chat, kNow);
  REQUIRE_OK(rendered);
  std::string from_request;
  for (const MarkedText::Range& range : rendered->text.from_request()) {
    from_request += rendered->text.bytes().substr(range.begin, range.end - range.begin) + "|";
  }
  CHECK(from_request ==
        "Weather?|id|call00001|type|function|function|name|get_weather|arguments|city|Zürich|days|"
        "{\"sky\": \"grey\"}get_weather|Grey.|Thanksget_weatherE|");
}

TEST_CASE("a role that conversations do not have is text") {
  const ChatTemplates templates = One("{% for m in messages %}<|{{ m.role }}|>{% endfor %}");
  ChatPrompt chat{.messages = {{.role = "user", .content = ""}, {.role = "im_end", .content = ""}}};
  const auto rendered = templates.Render(chat, kNow);
  REQUIRE_OK(rendered);
  CHECK(rendered->text.bytes() == "<|user|><|im_end|>");
  CHECK(rendered->text.from_request() == std::vector<MarkedText::Range>{{10, 16}});
}

TEST_CASE("the template that fits is chosen") {
  const ChatTemplates templates({{.name = "default", .text = "D"},
                                 {.name = "tool_use", .text = "T"},
                                 {.name = "rag", .text = "R"},
                                 {.name = "broken", .text = "{{"}},
                                {});
  ChatPrompt chat = PromptOf(Conversation::kPlain);
  CHECK(Rendered(templates, chat) == "D");
  chat.tools = "[]";
  CHECK(Rendered(templates, chat) == "T");
  CHECK(Rendered(One("D"), chat) == "D");
  chat.template_name = "rag";
  CHECK(Rendered(templates, chat) == "R");
  chat.template_name = "broken";
  REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid,
                 "the model's chat template \"broken\" cannot be used, give messages.template in "
                 "its place: template line 1, column 1: the tag does not end");
  chat.template_name = "no";
  REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid,
                 "messages.template_name is \"no\", but the model's chat templates are: default, "
                 "tool_use, rag, broken");
  chat.template_name = "";
  chat.template_source = "own {{ messages[0].role }}";
  CHECK(Rendered(templates, chat) == "own user");
  CHECK(Rendered(ChatTemplates(), chat) == "own user");
  chat.template_source = "{{ x.y }}";
  REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid,
                 "messages: template line 1, column 5: 'x' is undefined");
  chat.template_source = "{%";
  REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid, "messages.template: template line 1");
  CHECK(templates.HasDefault());
  CHECK_FALSE(One("{{").HasDefault());
  CHECK_FALSE(ChatTemplates().HasDefault());
}

TEST_CASE("a model without a template says so") {
  REQUIRE_STATUS(ChatTemplates().Render(PromptOf(Conversation::kPlain), kNow), kInvalid,
                 "the model has no chat template: give messages.template");
}

TEST_CASE("JSON of a request is checked, and names of the template's own are refused") {
  const ChatTemplates templates = One("x");
  const auto fails = [&templates](const ChatPrompt& chat, std::string_view message) {
    REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid, std::string(message));
  };
  ChatPrompt chat = PromptOf(Conversation::kTools);
  chat.tools = "[";
  fails(chat, "messages.tools: JSON, byte 1");
  chat.tools = "{}";
  fails(chat, "messages.tools must be a JSON array");
  chat.tools = "";
  chat.messages[1].tool_calls = "1";
  fails(chat, "messages.messages[1].tool_calls must be a JSON array");
  chat.messages[1].tool_calls = "[]";
  chat.template_arguments = "[]";
  fails(chat, "messages.template_arguments must be a JSON object");
  for (const char* name :
       {"messages", "tools", "add_generation_prompt", "bos_token", "eos_token"}) {
    chat.template_arguments = "{\"" + std::string(name) + "\": 1}";
    fails(chat, "messages.template_arguments must not hold \"" + std::string(name) + "\"");
  }
  chat.template_arguments = R"({"documents": ["d"]})";
  chat.template_source = "{{ documents[0] }}";
  CHECK(Rendered(templates, chat) == "d");
}

TEST_CASE("the last message can be continued") {
  const ChatTemplates templates =
      One("{% for m in messages %}[{{ m.role }}]{{ m.content }}<end>{% endfor %}"
          "{% if add_generation_prompt %}[assistant]{% endif %}");
  ChatPrompt chat = PromptOf(Conversation::kPlain);
  chat.messages.push_back({.role = "assistant", .content = "  The first "});
  chat.add_generation_prompt = false;
  chat.continue_final_message = true;
  CHECK(Rendered(templates, chat) == "[user]Hello there <end>[assistant]  The first ");
  chat.template_source =
      "{% for m in messages %}[{{ m.role }}]{{ m.content|trim }}<end>{% endfor %}The first";
  CHECK(Rendered(templates, chat) == "[user]Hello there<end>[assistant]The first");
  chat.template_source = "nothing The first";
  REQUIRE_STATUS(templates.Render(chat, kNow), kInvalid,
                 "the template does not write the last message's content");
}

TEST_CASE("bounds of a request's messages name the field and the value") {
  const auto fails = [](const ChatPrompt& chat, std::string_view message) {
    REQUIRE_STATUS(ValidateChat(chat), kInvalid, std::string(message));
  };
  fails({}, "messages.messages must be 1 to 4096, but are 0");
  ChatPrompt chat = PromptOf(Conversation::kPlain);
  chat.messages.resize(4097, chat.messages[0]);
  fails(chat, "messages.messages must be 1 to 4096, but are 4097");
  chat = PromptOf(Conversation::kPlain);
  chat.messages[0].role = "";
  fails(chat, "messages.messages[0].role must be 1 to 64 bytes long, but is 0");
  chat.messages[0].role = std::string(65, 'r');
  fails(chat, "messages.messages[0].role must be 1 to 64 bytes long, but is 65");
  chat = PromptOf(Conversation::kPlain);
  chat.messages[0].name = std::string(257, 'n');
  fails(chat, "messages.messages[0].name must be 0 to 256 bytes long, but is 257");
  chat.messages[0].name = {};
  chat.messages[0].tool_call_id = std::string(257, 'n');
  fails(chat, "messages.messages[0].tool_call_id must be 0 to 256");
  chat = PromptOf(Conversation::kPlain);
  chat.messages[0].content = {};
  fails(chat, "messages.messages[0].content must be given where there are no tool_calls");
  chat = PromptOf(Conversation::kPlain);
  chat.messages[0].content = std::string(4 << 20, 'c');
  REQUIRE_OK(ValidateChat(chat));
  chat.tools = "[]";
  fails(chat, "the texts of messages together must be 0 to 4194304 bytes long, but is 4194306");
  chat = PromptOf(Conversation::kPlain);
  chat.template_source = std::string((256 << 10) + 1, 't');
  fails(chat, "messages.template must be 0 to 262144 bytes long, but is 262145");
  chat.template_source = "t";
  chat.template_name = "n";
  fails(chat, "messages.template and messages.template_name must not both be given");
  chat = PromptOf(Conversation::kPlain);
  chat.continue_final_message = true;
  fails(chat, "add_generation_prompt and messages.continue_final_message must not both be true");
  chat = PromptOf(Conversation::kTools);
  chat.messages.resize(2);
  chat.continue_final_message = true;
  chat.add_generation_prompt = false;
  fails(chat, "messages.continue_final_message needs a last message with content");
}

// As long as a request may be, through a template that copies much: within the limits.
TEST_CASE("a long conversation renders") {
  ChatPrompt chat;
  for (int i = 0; i < 4000; ++i) {
    chat.messages.push_back(
        {.role = i % 2 == 0 ? "user" : "assistant", .content = std::string(1000, 'a')});
  }
  for (const TemplateFamily& family : kTemplateFamilies) {
    INFO(family.name);
    CHECK(Rendered(One(family.source, family.bos, family.eos), chat).size() > 4'000'000);
  }
}

}  // namespace
}  // namespace baton
