#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace baton {

// One turn of a conversation. All text is UTF-8.
struct ChatMessage {
  std::string role;                              // 1 to 64 bytes: "system", "user", ...
  std::optional<std::string> content = {};       // absent: none, as beside tool calls
  std::optional<std::string> name = {};          // at most 256 bytes
  std::optional<std::string> tool_calls = {};    // JSON, an array
  std::optional<std::string> tool_call_id = {};  // at most 256 bytes
  std::optional<std::string> reasoning_content = {};
};

// A prompt that the model's chat template makes of messages.
struct ChatPrompt {
  std::vector<ChatMessage> messages;  // 1 to 4,096; all texts at most 4 MiB
  bool add_generation_prompt = true;
  bool continue_final_message = false;  // only without add_generation_prompt
  std::string template_name = {};       // one of the model's; empty: the one that fits
  std::string template_source = {};     // in place of the model's; at most 256 KiB
  std::string template_arguments = {};  // JSON, an object: further variables
  std::string tools = {};               // JSON, an array
};

// INVALID_ARGUMENT names field, limit and value. JSON is looked into when it is rendered.
absl::Status ValidateChat(const ChatPrompt& chat);

}  // namespace baton
