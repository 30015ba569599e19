#include "engine/model/grammar/json_pointer.h"

#include <cstddef>

#include "engine/base/strings.h"

namespace baton {

std::string JsonPointerTo(const std::string& parent, std::string_view key) {
  std::string pointer = parent + "/";
  for (const char c : key) {
    pointer += c == '~' ? "~0" : c == '/' ? "~1" : std::string(1, c);
  }
  return pointer;
}

std::string JsonPointerKey(std::string_view part) {
  std::string bytes;
  for (size_t i = 0; i < part.size(); ++i) {
    constexpr std::string_view kHex = "0123456789abcdefABCDEF";
    if (part[i] == '%' && i + 2 < part.size() && kHex.find(part[i + 1]) != kHex.npos &&
        kHex.find(part[i + 2]) != kHex.npos) {
      const auto digit = [&](char c) {
        const size_t index = kHex.find(c);
        return index < 16 ? index : index - 6;
      };
      bytes += static_cast<char>(digit(part[i + 1]) * 16 + digit(part[i + 2]));
      i += 2;
    } else {
      bytes += part[i];
    }
  }
  std::string text;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == '~' && i + 1 < bytes.size() && (bytes[i + 1] == '0' || bytes[i + 1] == '1')) {
      text += bytes[++i] == '0' ? '~' : '/';
    } else {
      text += bytes[i];
    }
  }
  return text;
}

absl::Status CheckJsonNesting(std::string_view text, int nesting_max) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > nesting_max) {
        return absl::InvalidArgumentError(
            StrCat("json_schema: byte ", i, ": nested deeper than ", nesting_max));
      }
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return absl::OkStatus();
}

}  // namespace baton
