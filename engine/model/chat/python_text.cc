#include "engine/model/chat/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "engine/model/utf8.h"

namespace baton::chat {
namespace {

constexpr char32_t kNoCharacter = 0xffffffff;
constexpr char32_t kSharpS = 0xDF;  // whose upper case is two letters

// kNoCharacter: a byte that is no UTF-8.
char32_t CodePoint(std::string_view character) {
  return Utf8CharBytes(character) == character.size() ? DecodeUtf8(character) : kNoCharacter;
}

// As str.isspace() has it.
bool IsSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool IsLineEnd(char32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

utf8proc_category_t Category(char32_t c) {
  return c == kNoCharacter ? UTF8PROC_CATEGORY_CN
                           : utf8proc_category(static_cast<utf8proc_int32_t>(c));
}
bool IsUpper(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LU; }
bool IsLower(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LL; }
bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c) || Category(c) == UTF8PROC_CATEGORY_LT; }

bool Contains(std::string_view characters, std::string_view character) {
  for (; !characters.empty(); characters.remove_prefix(CharacterBytes(characters))) {
    if (characters.substr(0, CharacterBytes(characters)) == character) return true;
  }
  return false;
}

// Bytes of the last character of `text`, which is not empty.
size_t LastCharacterBytes(std::string_view text) {
  for (size_t bytes = std::min<size_t>(4, text.size()); bytes > 1; --bytes) {
    if (Utf8CharBytes(text.substr(text.size() - bytes)) == bytes) return bytes;
  }
  return 1;
}

// What is left behind the last cut keeps the white space at the other end.
std::vector<MarkedText::Range> SplitAtSpace(std::string_view text, const SplitBy& by) {
  std::vector<MarkedText::Range> parts;
  const Side side = by.from_right ? Side::kRight : Side::kLeft;
  MarkedText::Range left = Stripped(text, side, std::nullopt);
  while (left.begin < left.end) {
    if (by.splits_max >= 0 && parts.size() == static_cast<size_t>(by.splits_max)) {
      parts.push_back(left);
      break;
    }
    const std::string_view rest = text.substr(left.begin, left.end - left.begin);
    size_t word = 0;  // bytes
    while (word < rest.size()) {
      const std::string_view before = rest.substr(0, rest.size() - word);
      const size_t bytes =
          by.from_right ? LastCharacterBytes(before) : CharacterBytes(rest.substr(word));
      const size_t at = by.from_right ? before.size() - bytes : word;
      if (IsSpaceCharacter(rest.substr(at, bytes))) break;
      word += bytes;
    }
    if (by.from_right) {
      parts.push_back({left.end - word, left.end});
      left.end -= word;
    } else {
      parts.push_back({left.begin, left.begin + word});
      left.begin += word;
    }
    const MarkedText::Range next =
        Stripped(text.substr(left.begin, left.end - left.begin), side, std::nullopt);
    left = {left.begin + next.begin, left.begin + next.end};
  }
  if (by.from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

}  // namespace

size_t CharacterBytes(std::string_view text) { return std::max<size_t>(Utf8CharBytes(text), 1); }

int64_t CharacterCount(std::string_view text) {
  int64_t count = 0;
  for (; !text.empty(); text.remove_prefix(CharacterBytes(text))) ++count;
  return count;
}

std::vector<size_t> CharacterStarts(std::string_view text) {
  std::vector<size_t> starts;
  for (size_t at = 0; at < text.size(); at += CharacterBytes(text.substr(at))) {
    starts.push_back(at);
  }
  starts.push_back(text.size());
  return starts;
}

bool IsSpaceCharacter(std::string_view character) { return IsSpace(CodePoint(character)); }

MarkedText::Range Stripped(std::string_view text, Side side,
                           std::optional<std::string_view> characters) {
  const auto goes = [&](std::string_view character) {
    return characters.has_value() ? Contains(*characters, character) : IsSpaceCharacter(character);
  };
  size_t begin = 0;
  size_t end = text.size();
  while (side != Side::kRight && begin < end) {
    const size_t bytes = CharacterBytes(text.substr(begin, end - begin));
    if (!goes(text.substr(begin, bytes))) break;
    begin += bytes;
  }
  while (side != Side::kLeft && begin < end) {
    const size_t bytes = LastCharacterBytes(text.substr(begin, end - begin));
    if (!goes(text.substr(end - bytes, bytes))) break;
    end -= bytes;
  }
  return {begin, end};
}

MarkedText WithCase(const MarkedText& text, LetterCase wanted) {
  constexpr std::string_view kTitleBreaks = "-({[<";
  MarkedText result;
  const std::string_view bytes = text.bytes();
  bool starts = true;  // a word, as `wanted` sees words
  for (size_t at = 0; at < bytes.size();) {
    const std::string_view character = bytes.substr(at, CharacterBytes(bytes.substr(at)));
    const char32_t c = CodePoint(character);
    const bool upper = wanted == LetterCase::kUpper || (wanted != LetterCase::kLower && starts);
    if (c == kSharpS && upper) {
      result.Append(wanted == LetterCase::kUpper ? "SS" : "Ss", text.OriginOf(at));
    } else if (c == kNoCharacter) {
      result.Append(character, text.OriginOf(at));
    } else {
      const auto code = static_cast<utf8proc_int32_t>(c);
      std::string changed;
      AppendUtf8(static_cast<char32_t>(upper ? utf8proc_toupper(code) : utf8proc_tolower(code)),
                 changed);
      result.Append(changed, text.OriginOf(at));
    }
    switch (wanted) {
      case LetterCase::kTitle:
        starts = !IsCased(c);
        break;
      case LetterCase::kJinjaTitle:
        starts = IsSpace(c) ||
                 (character.size() == 1 && kTitleBreaks.find(character[0]) != kTitleBreaks.npos);
        break;
      case LetterCase::kCapitalized:
      case LetterCase::kUpper:
      case LetterCase::kLower:
        starts = false;
        break;
    }
    at += character.size();
  }
  return result;
}

bool IsAllDigits(std::string_view text) {
  if (text.empty()) return false;
  for (size_t at = 0; at < text.size();) {
    const size_t bytes = CharacterBytes(text.substr(at));
    if (Category(CodePoint(text.substr(at, bytes))) != UTF8PROC_CATEGORY_ND) return false;
    at += bytes;
  }
  return true;
}

size_t FindText(std::string_view text, std::string_view wanted, size_t from) {
  if (from > text.size()) return text.npos;
  // std::string_view::find is quadratic in the worst case.
  const void* const found =
      memmem(text.data() + from, text.size() - from, wanted.data(), wanted.size());
  if (found == nullptr) return text.npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

size_t FindLastText(std::string_view text, std::string_view wanted) {
  const std::string backwards(text.rbegin(), text.rend());
  const std::string wanted_backwards(wanted.rbegin(), wanted.rend());
  const size_t found = FindText(backwards, wanted_backwards, 0);
  return found == backwards.npos ? text.npos : text.size() - found - wanted.size();
}

std::vector<MarkedText::Range> SplitText(std::string_view text, const SplitBy& by) {
  if (!by.separator.has_value()) return SplitAtSpace(text, by);
  std::string separator(*by.separator);
  std::string backwards;
  if (by.from_right) {
    std::reverse(separator.begin(), separator.end());
    backwards.assign(text.rbegin(), text.rend());
    text = backwards;
  }
  std::vector<MarkedText::Range> parts;
  size_t begin = 0;
  while (by.splits_max < 0 || parts.size() < static_cast<size_t>(by.splits_max)) {
    const size_t found = FindText(text, separator, begin);
    if (found == text.npos) break;
    parts.push_back({begin, found});
    begin = found + separator.size();
  }
  parts.push_back({begin, text.size()});
  if (by.from_right) {
    std::reverse(parts.begin(), parts.end());
    for (MarkedText::Range& part : parts) {
      part = {text.size() - part.end, text.size() - part.begin};
    }
  }
  return parts;
}

std::vector<MarkedText::Range> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<MarkedText::Range> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    size_t bytes = CharacterBytes(text.substr(at));
    if (!IsLineEnd(CodePoint(text.substr(at, bytes)))) {
      at += bytes;
      continue;
    }
    if (text.substr(at).starts_with("\r\n")) bytes = 2;
    lines.push_back({begin, keep_ends ? at + bytes : at});
    at += bytes;
    begin = at;
  }
  if (begin < text.size()) lines.push_back({begin, text.size()});
  return lines;
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // Python writes exponents below -4 and from 16 on.
  const double size = std::abs(value);
  const bool scientific = size != 0 && (size < 1e-4 || size >= 1e16);
  char buffer[512];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value,
                    scientific ? std::chars_format::scientific : std::chars_format::fixed)
          .ptr;
  std::string text(buffer, static_cast<size_t>(end - buffer));
  if (!scientific && text.find('.') == text.npos) text += ".0";
  return text;
}

}  // namespace baton::chat
