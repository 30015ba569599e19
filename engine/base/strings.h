#pragma once

#include <charconv>
#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

#include "absl/strings/string_view.h"

namespace baton {

// One part of a text: a string of any kind, a character, a number or a truth value. Lives as long
// as the expression it stands in.
class TextPart {
 public:
  TextPart(std::string_view text) : text_(text) {}
  TextPart(absl::string_view text) : text_(text.data(), text.size()) {}
  TextPart(const std::string& text) : text_(text) {}
  TextPart(const char* text) : text_(text) {}
  TextPart(char character) : text_(buffer_, 1) { buffer_[0] = character; }
  TextPart(bool value) : text_(value ? "true" : "false") {}
  // The shortest text that reads back as the same number.
  template <class Number>
  requires(std::integral<Number> || std::floating_point<Number>) TextPart(Number number)
      : text_(buffer_,
              static_cast<size_t>(std::to_chars(buffer_, buffer_ + sizeof(buffer_), number).ptr -
                                  buffer_)) {}
  TextPart(const TextPart&) = delete;
  TextPart& operator=(const TextPart&) = delete;

  std::string_view text() const { return text_; }

 private:
  char buffer_[32];  // a double takes at most 24 characters
  std::string_view text_;
};

std::string JoinParts(std::initializer_list<std::string_view> parts);

// All parts as text, one after another. Stands in for absl::StrCat, which in Debian's Abseil does
// not take std::string_view; parsing it costs every file less than a formatting library would.
template <class... Parts>
std::string StrCat(const Parts&... parts) {
  return JoinParts({TextPart(parts).text()...});
}

// Whether a name needs no quoting anywhere: 1 to 128 characters of [A-Za-z0-9_.:-].
bool IsPlainName(std::string_view name);

// Text from a file or client for a message: escaped, and cut where it is long.
std::string Escaped(std::string_view text);

}  // namespace baton
