#include "loadtest/sse.h"

#include <nlohmann/json.hpp>

namespace baton::load {
namespace {

constexpr size_t kLineBytesMax = 16 << 20;

std::string MessageOf(const nlohmann::json& object) {
  if (!object.is_object() || !object.contains("error")) return "";
  const auto& error = object["error"];
  if (error.is_string()) return error.get<std::string>();
  if (error.is_object() && error.contains("message") && error["message"].is_string()) {
    return error["message"].get<std::string>();
  }
  return "an error without a message";
}

int64_t CountAt(const nlohmann::json& usage, const char* key) {
  const auto found = usage.find(key);
  return found != usage.end() && found->is_number_integer() ? found->get<int64_t>() : 0;
}

// Whether a choice has new text: of a chat in delta.content (or what it thinks), else in text.
bool HasText(const nlohmann::json& choice) {
  const auto holds = [](const nlohmann::json& object, const char* key) {
    const auto found = object.find(key);
    return found != object.end() && found->is_string() &&
           !found->get_ref<const std::string&>().empty();
  };
  if (!choice.is_object()) return false;
  const auto delta = choice.find("delta");
  if (delta != choice.end() && delta->is_object()) {
    return holds(*delta, "content") || holds(*delta, "reasoning_content") ||
           holds(*delta, "reasoning");
  }
  return holds(choice, "text");
}

}  // namespace

void OpenAiStream::TakeChunk(std::string_view data, int64_t now_ns, RequestRecord& record) {
  const auto chunk = nlohmann::json::parse(data, nullptr, /*allow_exceptions=*/false);
  if (!chunk.is_object()) {
    garbled_ = true;
    return;
  }
  if (std::string error = MessageOf(chunk); !error.empty()) error_ = std::move(error);
  const auto choices = chunk.find("choices");
  if (choices != chunk.end() && choices->is_array() && !choices->empty() &&
      HasText(choices->front())) {
    record.AddTokens(1, now_ns);  // a server may put several into a chunk: usage has the truth
  }
  const auto usage = chunk.find("usage");
  if (usage != chunk.end() && usage->is_object()) {
    record.prompt_tokens = CountAt(*usage, "prompt_tokens");
    if (const int64_t tokens = CountAt(*usage, "completion_tokens"); tokens > 0) {
      record.tokens = tokens;
    }
  }
}

void OpenAiStream::TakeLine(std::string_view line, int64_t now_ns, RequestRecord& record) {
  if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  constexpr std::string_view kData = "data:";
  if (!line.starts_with(kData)) return;  // comments, other fields, the empty line between events
  line.remove_prefix(kData.size());
  if (line.starts_with(' ')) line.remove_prefix(1);
  if (line == "[DONE]") {
    done_ = true;
  } else if (!line.empty()) {
    TakeChunk(line, now_ns, record);
  }
}

bool OpenAiStream::Feed(std::string_view bytes, int64_t now_ns, RequestRecord& record) {
  while (!bytes.empty()) {
    const size_t end = bytes.find('\n');
    line_ += bytes.substr(0, end);
    if (line_.size() > kLineBytesMax) return false;
    if (end == std::string_view::npos) return true;
    TakeLine(line_, now_ns, record);
    line_.clear();
    bytes.remove_prefix(end + 1);
  }
  return true;
}

std::string OpenAiStream::ErrorOf(std::string_view body) {
  const auto object = nlohmann::json::parse(body, nullptr, /*allow_exceptions=*/false);
  std::string message = MessageOf(object);
  return message.empty() ? std::string(body.substr(0, 500)) : message.substr(0, 500);
}

}  // namespace baton::load
