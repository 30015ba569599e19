#include "engine/model/chat/lexer.h"

#include <charconv>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/utf8.h"

namespace baton::chat {
namespace {

constexpr std::string_view kSpaces = " \t\n\r\f\v";
constexpr std::string_view kOpening = "([{";
constexpr std::string_view kClosing = ")]}";
// Longer ones first.
constexpr std::string_view kSigns[] = {"//", "**", "==", "!=", ">=", "<=", "+", "-", "/",
                                       "*",  "%",  "~",  "[",  "]",  "(",  ")", "{", "}",
                                       ">",  "<",  "=",  ".",  ":",  "|",  ",", ";"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<uint8_t>(c) >= 0x80;
}
bool IsNameCharacter(char c) { return IsNameStart(c) || IsDigit(c); }
bool IsSpace(char c) { return kSpaces.find(c) != kSpaces.npos; }

std::string WithoutSpaceBehind(std::string text) {
  text.erase(text.find_last_not_of(kSpaces) + 1);
  return text;
}

// Line ends as \n, and without one at the very end, as Jinja reads a template.
std::string Normalised(std::string_view source) {
  std::string text;
  text.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      text.push_back(source[i]);
      continue;
    }
    text.push_back('\n');
    if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
  }
  if (text.ends_with('\n')) text.pop_back();
  return text;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(Normalised(source)), text_(source_) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < text_.size()) {
      const size_t tag = FindTag();
      const std::string_view before = text_.substr(at_, tag - at_);
      if (tag == text_.size()) {
        Push(Token::Kind::kText, std::string(before));
        Advance(tag - at_);
        break;
      }
      const char kind = text_[tag + 1];
      const char sign = tag + 2 < text_.size() ? text_[tag + 2] : '\0';
      Push(Token::Kind::kText, TextBefore(before, kind, sign));
      Advance(tag - at_);
      const SourcePosition begin = position_;
      Advance(2);
      if (sign == '-' || sign == '+') Advance(1);
      if (kind == '#') {
        RETURN_IF_ERROR(SkipComment(begin));
      } else if (kind == '%' && IsRawBegin()) {
        RETURN_IF_ERROR(LexRaw(begin));
      } else {
        RETURN_IF_ERROR(LexTag(begin, kind));
      }
    }
    Push(Token::Kind::kEnd, "end of the template");
    return std::move(tokens_);
  }

 private:
  void Advance(size_t bytes) {
    for (const char c : text_.substr(at_, bytes)) {
      position_.line += c == '\n' ? 1 : 0;
      position_.column = c == '\n' ? 1 : position_.column + 1;
    }
    at_ += bytes;
  }

  void Push(Token::Kind kind, std::string text) {
    if (kind == Token::Kind::kText && text.empty()) return;
    tokens_.push_back({kind, position_, std::move(text)});
  }

  bool StartsWith(std::string_view wanted) const { return text_.substr(at_).starts_with(wanted); }

  // The next "{{", "{%" or "{#", or the end.
  size_t FindTag() const {
    for (size_t brace = text_.find('{', at_); brace != text_.npos;
         brace = text_.find('{', brace + 1)) {
      if (brace + 1 == text_.size()) break;
      const char next = text_[brace + 1];
      if (next == '{' || next == '%' || next == '#') return brace;
    }
    return text_.size();
  }

  // What is left of the text before a tag.
  std::string TextBefore(std::string_view before, char kind, char sign) const {
    if (sign == '-') return WithoutSpaceBehind(std::string(before));
    if (sign == '+' || kind == '{') return std::string(before);
    const size_t line_end = before.rfind('\n');
    const size_t line = line_end == before.npos ? 0 : line_end + 1;
    const bool whole_line = line > 0 || at_ == 0 || text_[at_ - 1] == '\n';
    if (whole_line && before.find_first_not_of(kSpaces, line) == before.npos) {
      return std::string(before.substr(0, line));
    }
    return std::string(before);
  }

  void SkipSpace() {
    size_t bytes = 0;
    while (at_ + bytes < text_.size() && IsSpace(text_[at_ + bytes])) ++bytes;
    Advance(bytes);
  }

  // The end of a block tag or comment, such as "%}", with the white space that it takes along.
  bool TakeEnd(std::string_view end) {
    if (StartsWith(StrCat("-", end))) {
      Advance(1 + end.size());
      SkipSpace();
      return true;
    }
    const bool kept = StartsWith(StrCat("+", end));
    if (!kept && !StartsWith(end)) return false;
    Advance(end.size() + (kept ? 1 : 0));
    if (!kept && StartsWith("\n")) Advance(1);
    return true;
  }

  absl::Status SkipComment(SourcePosition begin) {
    const size_t end = text_.find("#}", at_);
    if (end == text_.npos) return TemplateError(begin, "the comment does not end");
    size_t close = end;
    // Its closing sign, if that is not the opening one again.
    if (close > at_ && (text_[close - 1] == '-' || text_[close - 1] == '+')) --close;
    Advance(close - at_);
    TakeEnd("#}");
    return absl::OkStatus();
  }

  // Behind "{%" and its sign: bytes up to the end of "raw %}"; 0: another tag.
  bool IsRawBegin() const {
    size_t i = at_;
    while (i < text_.size() && IsSpace(text_[i])) ++i;
    if (!text_.substr(i).starts_with("raw")) return false;
    i += 3;
    while (i < text_.size() && IsSpace(text_[i])) ++i;
    return text_.substr(i).starts_with("%}") || text_.substr(i).starts_with("-%}");
  }

  absl::Status LexRaw(SourcePosition begin) {
    Advance(text_.find("%}", at_) - at_ - 1);
    const bool strips = StartsWith("-");
    Advance(3);
    if (strips) SkipSpace();
    for (size_t tag = text_.find("{%", at_); tag != text_.npos; tag = text_.find("{%", tag + 1)) {
      size_t i = tag + 2;
      const char sign = i < text_.size() ? text_[i] : '\0';
      if (sign == '-' || sign == '+') ++i;
      while (i < text_.size() && IsSpace(text_[i])) ++i;
      if (!text_.substr(i).starts_with("endraw")) continue;
      i += 6;
      while (i < text_.size() && IsSpace(text_[i])) ++i;
      const std::string_view rest = text_.substr(i);
      if (!rest.starts_with("%}") && !rest.starts_with("-%}") && !rest.starts_with("+%}")) continue;
      Push(Token::Kind::kText, TextBefore(text_.substr(at_, tag - at_), '%', sign));
      Advance(i - at_);
      TakeEnd("%}");
      return absl::OkStatus();
    }
    return TemplateError(begin, "the raw block does not end");
  }

  absl::Status LexTag(SourcePosition begin, char kind) {
    const bool output = kind == '{';
    tokens_.push_back({output ? Token::Kind::kOutputBegin : Token::Kind::kBlockBegin, begin,
                       output ? "{{" : "{%"});
    std::string brackets;  // open ones: what closes the innermost last
    while (true) {
      SkipSpace();
      if (at_ == text_.size()) return TemplateError(begin, "the tag does not end");
      if (brackets.empty()) {
        const SourcePosition end = position_;
        if (!output && TakeEnd("%}")) {
          tokens_.push_back({Token::Kind::kBlockEnd, end, "%}"});
          return absl::OkStatus();
        }
        if (output && (StartsWith("}}") || StartsWith("-}}"))) {
          const bool strips = StartsWith("-");
          Advance(strips ? 3 : 2);
          if (strips) SkipSpace();
          tokens_.push_back({Token::Kind::kOutputEnd, end, "}}"});
          return absl::OkStatus();
        }
      }
      RETURN_IF_ERROR(LexToken(brackets));
    }
  }

  absl::Status LexToken(std::string& brackets) {
    const char c = text_[at_];
    if (IsNameStart(c)) {
      size_t bytes = 1;
      while (at_ + bytes < text_.size() && IsNameCharacter(text_[at_ + bytes])) ++bytes;
      Push(Token::Kind::kName, std::string(text_.substr(at_, bytes)));
      Advance(bytes);
      return absl::OkStatus();
    }
    if (IsDigit(c)) {
      LexNumber();
      return absl::OkStatus();
    }
    if (c == '"' || c == '\'') return LexString();
    for (const std::string_view sign : kSigns) {
      if (!StartsWith(sign)) continue;
      if (const size_t opening = kOpening.find(sign); opening != kOpening.npos) {
        brackets.push_back(kClosing[opening]);
      } else if (kClosing.find(sign) != kClosing.npos) {
        if (brackets.empty() || brackets.back() != sign[0]) {
          return TemplateError(position_, StrCat("'", sign, "' closes nothing"));
        }
        brackets.pop_back();
      }
      Push(Token::Kind::kSign, std::string(sign));
      Advance(sign.size());
      return absl::OkStatus();
    }
    return TemplateError(position_, StrCat("'", Escaped({&c, 1}), "' is not expected"));
  }

  // The text of the token is without the underscores that may group digits.
  void LexNumber() {
    const SourcePosition begin = position_;
    std::string number;
    const auto digits = [this, &number] {
      size_t bytes = 0;
      while (at_ + bytes < text_.size() &&
             (IsDigit(text_[at_ + bytes]) ||
              (text_[at_ + bytes] == '_' && at_ + bytes + 1 < text_.size() &&
               IsDigit(text_[at_ + bytes + 1])))) {
        if (text_[at_ + bytes] != '_') number.push_back(text_[at_ + bytes]);
        ++bytes;
      }
      Advance(bytes);
    };
    const auto digit_at = [this](size_t offset) {
      return at_ + offset < text_.size() && IsDigit(text_[at_ + offset]);
    };
    digits();
    Token::Kind kind = Token::Kind::kInteger;
    if (StartsWith(".") && digit_at(1)) {
      kind = Token::Kind::kFloat;
      number.push_back('.');
      Advance(1);
      digits();
    }
    if (StartsWith("e") || StartsWith("E")) {
      const bool sign = at_ + 1 < text_.size() && (text_[at_ + 1] == '+' || text_[at_ + 1] == '-');
      if (digit_at(sign ? 2 : 1)) {
        kind = Token::Kind::kFloat;
        number.push_back('e');
        if (sign && text_[at_ + 1] == '-') number.push_back('-');
        Advance(sign ? 2 : 1);
        digits();
      }
    }
    tokens_.push_back({kind, begin, std::move(number)});
  }

  absl::Status LexString() {
    const SourcePosition begin = position_;
    const char quote = text_[at_];
    Advance(1);
    std::string meaning;
    while (true) {
      if (at_ == text_.size()) return TemplateError(begin, "the string does not end");
      const char c = text_[at_];
      Advance(1);
      if (c == quote) break;
      if (c == '\\') {
        RETURN_IF_ERROR(LexEscape(begin, meaning));
      } else {
        meaning.push_back(c);
      }
    }
    tokens_.push_back({Token::Kind::kString, begin, std::move(meaning)});
    return absl::OkStatus();
  }

  // As Python's: an escape that it has not stands for itself, its backslash included.
  absl::Status LexEscape(SourcePosition begin, std::string& meaning) {
    if (at_ == text_.size()) return TemplateError(begin, "the string does not end");
    const char c = text_[at_];
    constexpr std::string_view kEscapes = "\\'\"abfnrtv";
    constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t known = kEscapes.find(c); known != kEscapes.npos) {
      meaning.push_back(kMeaning[known]);
      Advance(1);
      return absl::OkStatus();
    }
    if (c == '\n') {
      Advance(1);
      return absl::OkStatus();
    }
    const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    uint32_t code = 0;
    const char* const first = text_.data() + at_;
    if (digits > 0) {
      const char* const last = first + 1 + digits;
      if (text_.size() - at_ <= digits || std::from_chars(first + 1, last, code, 16).ptr != last ||
          code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
        return TemplateError(
            position_, StrCat("\\", c, " needs ", digits, " hexadecimal digits of a character"));
      }
      Advance(1 + digits);
    } else if (c >= '0' && c <= '7') {
      size_t bytes = 0;
      while (bytes < 3 && at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '7') {
        code = code * 8 + static_cast<uint32_t>(text_[at_] - '0');
        Advance(1);
        ++bytes;
      }
    } else {
      meaning.push_back('\\');
      return absl::OkStatus();
    }
    AppendUtf8(code, meaning);
    return absl::OkStatus();
  }

  const std::string source_;
  const std::string_view text_;
  size_t at_ = 0;
  SourcePosition position_;
  std::vector<Token> tokens_;
};

}  // namespace

absl::Status TemplateError(SourcePosition at, std::string_view what) {
  return absl::InvalidArgumentError(
      StrCat("template line ", at.line, ", column ", at.column, ": ", what));
}

absl::StatusOr<std::vector<Token>> Lex(std::string_view source) {
  if (source.size() > kTemplateBytesMax) {
    return absl::InvalidArgumentError(StrCat("the template must be at most ", kTemplateBytesMax,
                                             " bytes long, but is ", source.size()));
  }
  return Lexer(source).Run();
}

}  // namespace baton::chat
