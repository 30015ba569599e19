#include "server/json_text.h"

#include <nlohmann/json.hpp>
#include <string>

#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

// Where the string that begins at `at` ends: behind its closing quote.
size_t EndOfString(std::string_view text, size_t at) {
  for (++at; at < text.size(); ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

// Where the value that begins at `at` ends.
size_t EndOfValue(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    switch (text[at]) {
      case '"':
        at = EndOfString(text, at);
        break;
      case '{':
      case '[':
        ++depth;
        ++at;
        break;
      case '}':
      case ']':
        if (depth == 0) return at;
        --depth;
        ++at;
        break;
      case ',':
        if (depth == 0) return at;
        ++at;
        break;
      default:
        ++at;
    }
    if (depth == 0 && at < text.size() && kSpace.find(text[at]) != kSpace.npos) {
      return at;
    }
    if (depth == 0 && at > 0 &&
        (text[at - 1] == '}' || text[at - 1] == ']' || text[at - 1] == '"')) {
      return at;
    }
  }
  return text.size();
}

std::string_view RawMember(std::string_view object, std::string_view wanted) {
  std::string_view found;
  size_t at = object.find_first_not_of(kSpace);
  if (at == object.npos || object[at] != '{') return {};
  while ((at = object.find_first_not_of(kSpace, at + 1)) != object.npos && object[at] == '"') {
    const size_t key_end = EndOfString(object, at);
    const auto key =
        nlohmann::json::parse(object.substr(at, key_end - at), nullptr, /*allow_exceptions=*/false);
    at = object.find_first_not_of(kSpace, key_end);
    if (at == object.npos || object[at] != ':') return {};
    at = object.find_first_not_of(kSpace, at + 1);
    if (at == object.npos) return {};
    const size_t end = EndOfValue(object, at);
    if (key.is_string() && key.get_ref<const std::string&>() == wanted) {
      found = object.substr(at, end - at);
    }
    at = object.find_first_not_of(kSpace, end);
    if (at == object.npos || object[at] != ',') break;
  }
  return found;
}

}  // namespace

absl::Status CheckJsonDepth(std::string_view text) {
  int depth = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (c == '"') {
      at = EndOfString(text, at) - 1;
    } else if (c == '{' || c == '[') {
      if (++depth > kJsonDepthMax) {
        return absl::InvalidArgumentError(StrCat("the body's arrays and objects must be at most ",
                                                 kJsonDepthMax, " within one another"));
      }
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return absl::OkStatus();
}

std::string_view RawJsonValue(std::string_view document,
                              std::initializer_list<std::string_view> path) {
  for (const std::string_view key : path) document = RawMember(document, key);
  return document;
}

}  // namespace baton
