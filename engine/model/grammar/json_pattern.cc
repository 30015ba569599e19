#include "engine/model/grammar/json_pattern.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/grammar/code_point_ranges.h"
#include "engine/model/utf8.h"

namespace baton {
namespace {

using Ranges = CodePointRanges;

constexpr int kNestingMax = 24;  // each level of the pattern takes up to two of the grammar
constexpr uint32_t kRepetitionsMax = 4096;

Ranges Digits() { return {{'0', '9'}}; }
Ranges WordCharacters() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
Ranges WhiteSpace() {
  return {{'\t', '\r'},     {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
          {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
}
Ranges LineEnds() { return {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}}; }

std::string Hex(char32_t value, int digits) {
  std::string text;
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) {
    text += "0123456789abcdef"[(value >> shift) & 15];
  }
  return text;
}

// The characters of `ranges` as they stand in a JSON string.
std::string ClassGbnf(const Ranges& ranges) {
  constexpr std::string_view kEscaped = "\b\f\n\r\t\"\\";
  constexpr std::string_view kLetters = "bfnrt\"\\";
  std::string plain;
  std::string letters;      // behind a backslash
  std::string controls[2];  // last hexadecimal digits of \u000. and \u001.
  for (const CodePointRange& range : MergedRanges(ranges)) {
    // Control characters, then the plain ones between " and \ and around them.
    for (char32_t c = range.first; c <= std::min<char32_t>(range.last, 0x1F); ++c) {
      if (kEscaped.find(static_cast<char>(c)) == kEscaped.npos) {
        controls[c >> 4] += Hex(c & 15, 1);
      }
    }
    for (size_t i = 0; i < kEscaped.size(); ++i) {
      const auto c = static_cast<char32_t>(kEscaped[i]);
      if (c >= range.first && c <= range.last) {
        letters += StrCat(kLetters[i] == '\\' ? "\\" : "", kLetters[i]);
      }
    }
    for (const CodePointRange& allowed :
         {CodePointRange{0x20, '"' - 1}, CodePointRange{'"' + 1, '\\' - 1},
          CodePointRange{'\\' + 1, 0xD7FF}, CodePointRange{0xE000, kCodePointMax}}) {
      const char32_t first = std::max(range.first, allowed.first);
      const char32_t last = std::min(range.last, allowed.last);
      if (first <= last) {
        plain += StrCat("\\U", Hex(first, 8), "-\\U", Hex(last, 8));
      }
    }
  }
  std::vector<std::string> alternatives;
  if (!plain.empty()) {
    alternatives.push_back(StrCat("[", plain, "]"));
  }
  if (!letters.empty()) {
    alternatives.push_back(StrCat("\"\\\\\" [", letters, "]"));
  }
  for (int i = 0; i < 2; ++i) {
    if (!controls[i].empty()) {
      alternatives.push_back(StrCat("\"\\\\u00", i, "\" [", controls[i], "]"));
    }
  }
  if (alternatives.empty()) {
    return "[]";
  }
  std::string text;
  for (const std::string& alternative : alternatives) {
    text += StrCat(text.empty() ? "(" : " | ", alternative);
  }
  return text + ")";
}

class PatternParser {
 public:
  PatternParser(std::string_view pattern, std::string_view char_rule)
      : pattern_(pattern), any_(StrCat(char_rule, "*")) {}

  absl::StatusOr<std::string> Parse() {
    std::string text = "(";
    for (;;) {
      const bool anchored_start = Take("^");
      ASSIGN_OR_RETURN(const std::string sequence, ParseSequence(0));
      const bool anchored_end = Take("$");
      text += StrCat(anchored_start ? "" : any_, " ", sequence, " ", anchored_end ? "" : any_);
      if (Take("|")) {
        text += " | ";
        continue;
      }
      if (position_ == pattern_.size()) {
        return text + ")";
      }
      return Error(Peek() == ')' ? ") closes no group"
                                 : "behind $ only | may stand, other assertions are not supported");
    }
  }

 private:
  absl::Status ErrorAt(size_t at, std::string_view message) const {
    return absl::InvalidArgumentError(StrCat("pattern, byte ", at + 1, ": ", message));
  }
  absl::Status Error(std::string_view message) const { return ErrorAt(position_, message); }

  char Peek() const { return position_ < pattern_.size() ? pattern_[position_] : '\0'; }
  bool AtEnd() const { return position_ == pattern_.size(); }
  bool Take(std::string_view token) {
    if (!pattern_.substr(position_).starts_with(token)) {
      return false;
    }
    position_ += token.size();
    return true;
  }

  absl::StatusOr<std::string> ParseSequence(int depth) {
    std::string text;
    while (!AtEnd() && Peek() != '|' && Peek() != ')' && Peek() != '$') {
      ASSIGN_OR_RETURN(std::string term, ParseTerm(depth));
      ASSIGN_OR_RETURN(const std::string repetition, ParseRepetition());
      text += StrCat(text.empty() ? "" : " ", term, repetition);
    }
    return text.empty() ? "\"\"" : text;
  }

  absl::StatusOr<std::string> ParseGroup(int depth) {
    const size_t start = position_ - 1;
    if (depth == kNestingMax) {
      return ErrorAt(start, StrCat("groups are nested deeper than ", kNestingMax));
    }
    if (Take("?")) {
      if (Take("=") || Take("!") || Take("<=") || Take("<!")) {
        return ErrorAt(start, "assertions, (?=...) and the like, are not supported");
      }
      if (Take("<")) {
        position_ = std::min(pattern_.find('>', position_), pattern_.size());
        if (!Take(">")) {
          return ErrorAt(start, "the group's name does not end");
        }
      } else if (!Take(":")) {
        return ErrorAt(start, "a group of this kind is not supported");
      }
    }
    std::string text = "(";
    do {
      ASSIGN_OR_RETURN(const std::string sequence, ParseSequence(depth + 1));
      text += StrCat(text.size() > 1 ? " | " : "", sequence);
    } while (Take("|"));
    if (Peek() == '$') {
      return Error("$ inside a group is not supported");
    }
    if (!Take(")")) {
      return ErrorAt(start, "the group does not end");
    }
    return text + ")";
  }

  absl::StatusOr<std::string> ParseTerm(int depth) {
    const size_t start = position_;
    if (Take("(")) {
      return ParseGroup(depth);
    }
    if (Take("[")) {
      return ParseClass();
    }
    if (Take(".")) {
      return ClassGbnf(Complement(LineEnds()));
    }
    if (Peek() == '^') {
      return Error("^ is supported at the start only");
    }
    if (Peek() == '*' || Peek() == '+' || Peek() == '?' || Peek() == '{') {
      return Error(StrCat(Peek(), " repeats nothing"));
    }
    if (Take("\\")) {
      if (Peek() == 'b' || Peek() == 'B') {
        return ErrorAt(start, "assertions, \\b and \\B, are not supported");
      }
      ASSIGN_OR_RETURN(const Ranges ranges, ParseEscape(start));
      return ClassGbnf(ranges);
    }
    ASSIGN_OR_RETURN(const char32_t character, ParseCharacter());
    return ClassGbnf({{character, character}});
  }

  absl::StatusOr<char32_t> ParseCharacter() {
    const size_t bytes = Utf8CharBytes(pattern_.substr(position_));
    if (bytes == 0) {
      return Error("the pattern is not UTF-8 here");
    }
    const char32_t character = DecodeUtf8(pattern_.substr(position_, bytes));
    position_ += bytes;
    return character;
  }

  // Behind a backslash at `start`.
  absl::StatusOr<Ranges> ParseEscape(size_t start) {
    if (AtEnd()) {
      return ErrorAt(start, "\\ escapes nothing");
    }
    const char escape = Peek();
    ++position_;
    switch (escape) {
      case 'd':
        return Digits();
      case 'D':
        return Complement(Digits());
      case 'w':
        return WordCharacters();
      case 'W':
        return Complement(WordCharacters());
      case 's':
        return WhiteSpace();
      case 'S':
        return Complement(WhiteSpace());
      case 'n':
        return Ranges{{'\n', '\n'}};
      case 'r':
        return Ranges{{'\r', '\r'}};
      case 't':
        return Ranges{{'\t', '\t'}};
      case 'f':
        return Ranges{{'\f', '\f'}};
      case 'v':
        return Ranges{{'\v', '\v'}};
      case 'x':
        return ParseHex(start, 2);
      case 'u':
        return ParseHex(start, 4);
      case '0':
        if (Peek() < '0' || Peek() > '9') {
          return Ranges{{0, 0}};
        }
        break;
      default:
        break;
    }
    if (escape >= '0' && escape <= '9') {
      return ErrorAt(start, "back references and octal escapes are not supported");
    }
    const auto byte = static_cast<uint8_t>(escape);
    if (byte >= 0x80 || (escape >= 'a' && escape <= 'z') || (escape >= 'A' && escape <= 'Z')) {
      return ErrorAt(start, StrCat("the escape \\", Escaped(std::string_view(&escape, 1)),
                                   " is not supported"));
    }
    return Ranges{{byte, byte}};
  }

  absl::StatusOr<Ranges> ParseHex(size_t start, int digits) {
    const bool braced = digits == 4 && Take("{");
    uint32_t value = 0;
    int count = 0;
    for (; braced ? count < 8 : count < digits; ++count) {
      const char c = Peek();
      const size_t digit = std::string_view("0123456789abcdefABCDEF").find(c);
      if (AtEnd() || digit == std::string_view::npos) {
        break;
      }
      value = value * 16 + static_cast<uint32_t>(digit < 16 ? digit : digit - 6);
      ++position_;
    }
    if (braced ? count == 0 || !Take("}") : count != digits) {
      return ErrorAt(start, "the escape needs more hexadecimal digits");
    }
    if (value > kCodePointMax || IsSurrogate(value)) {
      return ErrorAt(start, "the escape is no character; write \\u{...} for those beyond U+FFFF");
    }
    return Ranges{{value, value}};
  }

  // Behind [.
  absl::StatusOr<std::string> ParseClass() {
    const size_t start = position_ - 1;
    const bool negated = Take("^");
    Ranges ranges;
    while (!Take("]")) {
      if (AtEnd()) {
        return ErrorAt(start, "the character class does not end");
      }
      const size_t item = position_;
      ASSIGN_OR_RETURN(Ranges first, ParseClassItem());
      if (Peek() == '-' && position_ + 1 < pattern_.size() && pattern_[position_ + 1] != ']') {
        ++position_;
        ASSIGN_OR_RETURN(const Ranges last, ParseClassItem());
        const bool single = first.size() == 1 && first[0].first == first[0].last &&
                            last.size() == 1 && last[0].first == last[0].last;
        if (!single || first[0].first > last[0].first) {
          return ErrorAt(item, "the range does not lead from one character to a later one");
        }
        first[0].last = last[0].last;
      }
      ranges.insert(ranges.end(), first.begin(), first.end());
    }
    return ClassGbnf(negated ? Complement(ranges) : ranges);
  }

  absl::StatusOr<Ranges> ParseClassItem() {
    const size_t start = position_;
    if (Take("\\")) {
      if (Take("b")) {
        return Ranges{{'\b', '\b'}};
      }
      return ParseEscape(start);
    }
    ASSIGN_OR_RETURN(const char32_t character, ParseCharacter());
    return Ranges{{character, character}};
  }

  // GBNF's notation is the same. Empty: none stands here.
  absl::StatusOr<std::string> ParseRepetition() {
    std::string text;
    if (Take("*")) {
      text = "*";
    } else if (Take("+")) {
      text = "+";
    } else if (Take("?")) {
      text = "?";
    } else if (Peek() == '{') {
      const size_t start = position_;
      ++position_;
      ASSIGN_OR_RETURN(const uint32_t min, ParseCount(start));
      text = StrCat("{", min, "}");
      if (Take(",")) {
        text = StrCat("{", min, ",}");
        if (Peek() != '}') {
          ASSIGN_OR_RETURN(const uint32_t max, ParseCount(start));
          if (max < min) {
            return ErrorAt(start, "the repetition's numbers are out of order");
          }
          text = StrCat("{", min, ",", max, "}");
        }
      }
      if (!Take("}")) {
        return ErrorAt(start, "the repetition does not end; write \\{ for the character");
      }
    }
    if (!text.empty()) {
      Take("?");  // lazy: the same texts match
    }
    return text;
  }

  absl::StatusOr<uint32_t> ParseCount(size_t start) {
    uint32_t count = 0;
    const size_t first = position_;
    while (Peek() >= '0' && Peek() <= '9') {
      count = std::min(count * 10 + static_cast<uint32_t>(Peek() - '0'), kRepetitionsMax + 1);
      ++position_;
    }
    if (position_ == first) {
      return ErrorAt(start, "a repetition needs a number; write \\{ for the character");
    }
    if (count > kRepetitionsMax) {
      return ErrorAt(start, StrCat("more than ", kRepetitionsMax, " repetitions"));
    }
    return count;
  }

  const std::string_view pattern_;
  const std::string any_;
  size_t position_ = 0;
};

}  // namespace

absl::StatusOr<std::string> JsonPatternToGbnf(std::string_view pattern,
                                              std::string_view char_rule) {
  return PatternParser(pattern, char_rule).Parse();
}

}  // namespace baton
