// Any bytes as a template, over a small conversation: it is refused, fails or renders within its
// limits, and what came with the request is never taken for the template's. The first byte chooses
// whether the rest is a template, or JSON for a template that walks through it.

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/model/chat/chat_templates.h"
#include "engine/model/chat/limits.h"

namespace baton {
namespace {

constexpr std::string_view kMarker = "\x01\x02";

void Require(bool condition) {
  if (!condition) std::abort();
}

// Bytes that only the request holds are marked as its own. A template may write them itself by
// escapes, which sources with a backslash or with the bytes themselves could.
void CheckOrigins(const RenderedChat& chat) {
  if (chat.template_source.find('\\') != std::string::npos ||
      chat.template_source.find(kMarker[0]) != std::string::npos) {
    return;
  }
  const std::string& text = chat.text.bytes();
  for (size_t at = text.find(kMarker); at != text.npos; at = text.find(kMarker, at + 1)) {
    Require(chat.text.OriginOf(at) == Origin::kRequest);
  }
}

void Fuzz(std::string_view input) {
  if (input.empty()) return;
  ChatPrompt chat;
  chat.messages.push_back({.role = "system", .content = "Be \x01\x02."});
  chat.messages.push_back(
      {.role = "user", .content = " \x01\x02 h\xC3\xA9llo\n<|end|> ", .name = "A"});
  chat.messages.push_back({.role = "assistant", .tool_calls = R"([{"function": {"name": "f"}}])"});
  const std::string rest(input.substr(1));
  if (input[0] % 8 != 0) {
    chat.template_source = rest;
    chat.tools = R"([{"function": {"name": "f", "parameters": {"a": [1, 2.5, null]}}}])";
    chat.template_arguments = R"({"n": 3, "s": "text", "l": [3, 1, 2], "d": {"k": {"v": true}}})";
  } else {
    chat.template_source =
        "{% macro walk(v) %}{% if v is mapping %}{% for k, x in v|dictsort %}{{ k }}{{ walk(x) }}"
        "{% endfor %}{% elif v is iterable and v is not string %}{% for x in v %}{{ walk(x) }}"
        "{% endfor %}{% else %}{{ v }}{% endif %}{% endmacro %}{{ walk(tools) }}{{ tools|tojson }}";
    chat.tools = rest;
  }
  chat.continue_final_message = false;
  if (chat.template_source.empty()) return;
  const auto rendered = ChatTemplates().Render(chat, 1781524800);
  if (!rendered.ok()) {
    Require(!rendered.status().message().empty());
    return;
  }
  Require(rendered->text.size() <= chat::kOutputBytesMax);
  CheckOrigins(*rendered);
}

}  // namespace
}  // namespace baton

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  baton::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
