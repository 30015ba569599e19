#include "engine/request/chat_prompt.h"

#include <cstddef>
#include <string_view>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kMessagesMax = 4096;
constexpr size_t kRoleBytesMax = 64;
constexpr size_t kNameBytesMax = 256;
constexpr size_t kTemplateBytesMax = 256 << 10;
constexpr size_t kTextBytesMax = 4 << 20;

struct Bounds {
  size_t min;
  size_t max;
};

absl::Status CheckBytes(std::string_view field, size_t bytes, Bounds bounds) {
  if (bytes >= bounds.min && bytes <= bounds.max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(field, " must be ", bounds.min, " to ", bounds.max, " bytes long, but is ", bytes));
}

size_t SizeOf(const std::optional<std::string>& text) {
  return text.has_value() ? text->size() : 0;
}

}  // namespace

absl::Status ValidateChat(const ChatPrompt& chat) {
  if (chat.messages.empty() || chat.messages.size() > kMessagesMax) {
    return absl::InvalidArgumentError(StrCat("messages.messages must be 1 to ", kMessagesMax,
                                             ", but are ", chat.messages.size()));
  }
  size_t bytes = chat.tools.size() + chat.template_arguments.size();
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    const ChatMessage& message = chat.messages[i];
    const std::string field = StrCat("messages.messages[", i, "]");
    RETURN_IF_ERROR(CheckBytes(field + ".role", message.role.size(), {1, kRoleBytesMax}));
    RETURN_IF_ERROR(CheckBytes(field + ".name", SizeOf(message.name), {0, kNameBytesMax}));
    RETURN_IF_ERROR(
        CheckBytes(field + ".tool_call_id", SizeOf(message.tool_call_id), {0, kNameBytesMax}));
    if (!message.content.has_value() && !message.tool_calls.has_value()) {
      return absl::InvalidArgumentError(
          StrCat(field, ".content must be given where there are no tool_calls"));
    }
    bytes +=
        SizeOf(message.content) + SizeOf(message.tool_calls) + SizeOf(message.reasoning_content);
  }
  RETURN_IF_ERROR(CheckBytes("the texts of messages together", bytes, {0, kTextBytesMax}));
  RETURN_IF_ERROR(
      CheckBytes("messages.template", chat.template_source.size(), {0, kTemplateBytesMax}));
  RETURN_IF_ERROR(
      CheckBytes("messages.template_name", chat.template_name.size(), {0, kNameBytesMax}));
  if (!chat.template_name.empty() && !chat.template_source.empty()) {
    return absl::InvalidArgumentError(
        "messages.template and messages.template_name must not both be given");
  }
  if (!chat.continue_final_message) return absl::OkStatus();
  if (chat.add_generation_prompt) {
    return absl::InvalidArgumentError(
        "messages.add_generation_prompt and messages.continue_final_message must not both be true");
  }
  if (!chat.messages.back().content.has_value()) {
    return absl::InvalidArgumentError(
        "messages.continue_final_message needs a last message with content");
  }
  return absl::OkStatus();
}

}  // namespace baton
