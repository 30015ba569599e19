#include "engine/base/strings.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"

namespace baton {

std::string JoinParts(std::initializer_list<std::string_view> parts) {
  size_t size = 0;
  for (const std::string_view part : parts) size += part.size();
  std::string text;
  text.reserve(size);
  for (const std::string_view part : parts) text += part;
  return text;
}

bool IsPlainName(std::string_view name) {
  constexpr size_t kMaxSize = 128;
  const auto is_plain = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) ||
           std::string_view("_.:-").find(c) != std::string_view::npos;
  };
  return !name.empty() && name.size() <= kMaxSize &&
         std::all_of(name.begin(), name.end(), is_plain);
}

std::string Escaped(std::string_view text) {
  constexpr size_t kMaxShown = 80;
  const std::string_view shown = text.substr(0, kMaxShown);
  return absl::CHexEscape({shown.data(), shown.size()}) + (shown.size() < text.size() ? "..." : "");
}

}  // namespace baton
