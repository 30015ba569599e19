#include "engine/model/grammar/gbnf_parser.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/utf8.h"

namespace baton {
namespace {

bool IsNameCharacter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_';
}

class GbnfParser {
 public:
  GbnfParser(std::string_view text, const GrammarLimits& limits) : text_(text), limits_(limits) {}

  absl::StatusOr<GrammarRules> Parse() {
    if (text_.size() > limits_.text_bytes_max) {
      return absl::InvalidArgumentError(StrCat("grammar: ", text_.size(), " bytes, at most ",
                                               limits_.text_bytes_max, " are allowed"));
    }
    for (size_t at = 0; at < text_.size();) {
      const size_t bytes = Utf8CharBytes(text_.substr(at));
      if (bytes == 0) {
        return ErrorAt(at, "the text is not UTF-8 here");
      }
      at += bytes;
    }
    SkipSpace(/*newlines=*/true);
    while (position_ < text_.size()) {
      RETURN_IF_ERROR(ParseRule());
    }
    return Finish();
  }

 private:
  using Kind = GrammarExpr::Kind;

  struct RuleUse {
    std::optional<size_t> defined_at;  // byte in text_
    size_t first_use = 0;              // where it is not defined
  };

  absl::Status ErrorAt(size_t at, std::string_view message) const {
    int64_t line = 1;
    int64_t column = 1;
    for (size_t i = 0; i < at; ++i) {
      if (text_[i] == '\n') {
        ++line;
        column = 1;
      } else if ((static_cast<uint8_t>(text_[i]) & 0xC0) != 0x80) {
        ++column;
      }
    }
    return absl::InvalidArgumentError(
        StrCat("grammar line ", line, ", column ", column, ": ", message));
  }

  absl::Status Expected(std::string_view what) const {
    std::string found = "the end of the text";
    if (position_ < text_.size()) {
      const std::string_view rest = text_.substr(position_);
      found = rest[0] == '\n' || rest[0] == '\r'
                  ? "the end of the line"
                  : StrCat("'", Escaped(rest.substr(0, Utf8CharBytes(rest))), "'");
    }
    return ErrorAt(position_, StrCat("expected ", what, ", found ", found));
  }

  char Peek() const { return position_ < text_.size() ? text_[position_] : '\0'; }
  bool At(std::string_view token) const { return text_.substr(position_).starts_with(token); }
  bool Take(std::string_view token) {
    if (!At(token)) {
      return false;
    }
    position_ += token.size();
    return true;
  }

  // Blanks and comments, and the ends of lines if `newlines`.
  void SkipSpace(bool newlines) {
    while (position_ < text_.size()) {
      const char c = text_[position_];
      if (c == '#') {
        position_ = std::min(text_.find('\n', position_), text_.size());
      } else if (c == ' ' || c == '\t' || (newlines && (c == '\n' || c == '\r'))) {
        ++position_;
      } else {
        return;
      }
    }
  }

  // As SkipSpace; ends of lines only where a line that starts with | follows.
  void SkipSpaceBeforeBar(bool newlines) {
    SkipSpace(newlines);
    const size_t start = position_;
    SkipSpace(/*newlines=*/true);
    if (Peek() != '|') {
      position_ = start;
    }
  }

  std::string_view TakeName() {
    const size_t start = position_;
    while (position_ < text_.size() && IsNameCharacter(text_[position_])) {
      ++position_;
    }
    return text_.substr(start, position_ - start);
  }

  absl::StatusOr<uint32_t> RuleNumber(std::string_view name, size_t at) {
    const auto [found, inserted] =
        numbers_.try_emplace(std::string(name), static_cast<uint32_t>(rules_.rules.size()));
    if (inserted) {
      if (rules_.rules.size() == limits_.rules_max) {
        return ErrorAt(at, StrCat("more than ", limits_.rules_max, " rules"));
      }
      rules_.rules.push_back({.name = std::string(name), .body = {}});
      uses_.push_back({.defined_at = std::nullopt, .first_use = at});
    }
    return found->second;
  }

  absl::Status ParseRule() {
    const size_t start = position_;
    const std::string_view name = TakeName();
    if (name.empty()) {
      return Expected("the name of a rule");
    }
    ASSIGN_OR_RETURN(const uint32_t number, RuleNumber(name, start));
    if (uses_[number].defined_at.has_value()) {
      return ErrorAt(start, StrCat("the rule ", Escaped(name), " is defined twice"));
    }
    uses_[number].defined_at = start;
    SkipSpace(/*newlines=*/false);
    if (!Take("::=")) {
      return Expected(StrCat("::= behind the rule name ", Escaped(name)));
    }
    SkipSpace(/*newlines=*/true);
    ASSIGN_OR_RETURN(GrammarExpr body, ParseAlternatives(/*nested=*/false, /*depth=*/0));
    rules_.rules[number].body = std::move(body);
    if (position_ < text_.size() && Peek() != '\n' && Peek() != '\r' && !AtLineStart()) {
      return Expected("an element of the rule or the end of the line");
    }
    SkipSpace(/*newlines=*/true);
    return absl::OkStatus();
  }

  absl::StatusOr<GrammarExpr> ParseAlternatives(bool nested, int32_t depth) {
    GrammarExpr alternatives{.kind = Kind::kAlternatives};
    do {
      SkipSpace(nested || !alternatives.parts.empty());
      ASSIGN_OR_RETURN(GrammarExpr sequence, ParseSequence(nested, depth));
      alternatives.parts.push_back(std::move(sequence));
      SkipSpaceBeforeBar(nested);
    } while (Take("|"));
    if (alternatives.parts.size() == 1) {
      GrammarExpr only = std::move(alternatives.parts[0]);
      return only;
    }
    return alternatives;
  }

  absl::StatusOr<GrammarExpr> ParseSequence(bool nested, int32_t depth) {
    GrammarExpr sequence{.kind = Kind::kSequence};
    while (position_ < text_.size()) {
      // Behind | a rule's last alternative may be empty, and the next line a rule of its own.
      if (IsNameCharacter(Peek()) && !nested && StartsRule()) {
        break;
      }
      int32_t wraps = depth;
      ASSIGN_OR_RETURN(std::optional<GrammarExpr> element, ParseElement(depth));
      if (!element.has_value()) {
        break;
      }
      for (;;) {
        SkipSpace(nested);
        const size_t at = position_;
        ASSIGN_OR_RETURN(const auto repeat, ParseRepetition());
        if (!repeat.has_value()) {
          break;
        }
        if (++wraps > limits_.nesting_max) {
          return ErrorAt(at, StrCat("nested deeper than ", limits_.nesting_max));
        }
        GrammarExpr repeated{.kind = Kind::kRepeat};
        repeated.repeat_min = repeat->first;
        repeated.repeat_max = repeat->second;
        repeated.parts.push_back(*std::move(element));
        element = std::move(repeated);
      }
      sequence.parts.push_back(*std::move(element));
    }
    return sequence;
  }

  // Whether only blanks stand before, on the line: behind | the rule's last line has been left.
  bool AtLineStart() const {
    const size_t last = text_.substr(0, position_).find_last_not_of(" \t");
    return last != text_.npos && (text_[last] == '\n' || text_[last] == '\r');
  }

  // Whether a name and ::= stand here.
  bool StartsRule() {
    const size_t start = position_;
    TakeName();
    SkipSpace(/*newlines=*/false);
    const bool starts = At("::=");
    position_ = start;
    return starts;
  }

  // nullopt: no element starts here.
  absl::StatusOr<std::optional<GrammarExpr>> ParseElement(int32_t depth) {
    const size_t start = position_;
    GrammarExpr element;
    if (Take("\"")) {
      element.kind = Kind::kLiteral;
      while (!Take("\"")) {
        ASSIGN_OR_RETURN(const char32_t character, ParseCharacter("\" to end the literal"));
        AppendUtf8(character, element.literal);
      }
    } else if (Take("[")) {
      element.kind = Kind::kClass;
      ASSIGN_OR_RETURN(element.ranges, ParseClass());
    } else if (Take(".")) {
      element.kind = Kind::kClass;
      element.ranges = WithoutSurrogates(Complement({}));
    } else if (Take("(")) {
      if (depth + 1 > limits_.nesting_max) {
        return ErrorAt(start, StrCat("nested deeper than ", limits_.nesting_max));
      }
      ASSIGN_OR_RETURN(element, ParseAlternatives(/*nested=*/true, depth + 1));
      if (!Take(")")) {
        return Expected("an element, | or ) to end the group");
      }
    } else if (IsNameCharacter(Peek())) {
      element.kind = Kind::kRule;
      ASSIGN_OR_RETURN(element.rule, RuleNumber(TakeName(), start));
    } else if (Peek() == '<' || At("!<")) {
      return ErrorAt(start, "tokens as elements, <...>, are not supported");
    } else {
      return std::optional<GrammarExpr>();
    }
    return std::optional<GrammarExpr>(std::move(element));
  }

  // Least and most times; nullopt: no repetition stands here.
  absl::StatusOr<std::optional<std::pair<uint32_t, uint32_t>>> ParseRepetition() {
    using Times = std::pair<uint32_t, uint32_t>;
    std::optional<Times> times;
    if (Take("*")) {
      times = Times(0, kUnboundedRepeat);
    } else if (Take("+")) {
      times = Times(1, kUnboundedRepeat);
    } else if (Take("?")) {
      times = Times(0, 1);
    } else if (Take("{")) {
      const size_t start = position_;
      SkipSpace(/*newlines=*/false);
      ASSIGN_OR_RETURN(const uint32_t min, ParseCount());
      uint32_t max = min;
      SkipSpace(/*newlines=*/false);
      if (Take(",")) {
        SkipSpace(/*newlines=*/false);
        max = kUnboundedRepeat;
        if (Peek() != '}') {
          ASSIGN_OR_RETURN(max, ParseCount());
          SkipSpace(/*newlines=*/false);
        }
      }
      if (!Take("}")) {
        return Expected("} to end the repetition");
      }
      if (min > max) {
        return ErrorAt(start, StrCat("{", min, ",", max, "} asks for at least ", min,
                                     " and at most ", max, " repetitions"));
      }
      times = Times(min, max);
    }
    return times;
  }

  absl::StatusOr<uint32_t> ParseCount() {
    const size_t start = position_;
    uint64_t count = 0;
    while (Peek() >= '0' && Peek() <= '9') {
      count = std::min<uint64_t>(count * 10 + static_cast<uint64_t>(Peek() - '0'),
                                 uint64_t{limits_.repetitions_max} + 1);
      ++position_;
    }
    if (position_ == start) {
      return Expected("a number of repetitions");
    }
    if (count > limits_.repetitions_max) {
      return ErrorAt(start, StrCat("more than ", limits_.repetitions_max, " repetitions"));
    }
    return static_cast<uint32_t>(count);
  }

  // Behind [.
  absl::StatusOr<CodePointRanges> ParseClass() {
    constexpr std::string_view kEnd = "] to end the character class";
    const bool negated = Take("^");
    CodePointRanges ranges;
    while (!Take("]")) {
      const size_t start = position_;
      ASSIGN_OR_RETURN(const char32_t first, ParseCharacter(kEnd));
      char32_t last = first;
      if (Peek() == '-' && position_ + 1 < text_.size() && text_[position_ + 1] != ']') {
        ++position_;
        ASSIGN_OR_RETURN(last, ParseCharacter(kEnd));
      }
      if (last < first) {
        return ErrorAt(start, StrCat("the range ", Escaped(text_.substr(start, position_ - start)),
                                     " ends before it starts"));
      }
      ranges.push_back({first, last});
    }
    return WithoutSurrogates(negated ? Complement(std::move(ranges)) : MergedRanges(ranges));
  }

  // One character or escape of a literal or class, which do not extend over lines.
  absl::StatusOr<char32_t> ParseCharacter(std::string_view end) {
    if (position_ == text_.size() || Peek() == '\n' || Peek() == '\r') {
      return Expected(end);
    }
    const size_t start = position_;
    const size_t bytes = Utf8CharBytes(text_.substr(position_));
    position_ += bytes;
    if (text_[start] != '\\') {
      return DecodeUtf8(text_.substr(start, bytes));
    }
    const char escape = Peek();
    ++position_;
    switch (escape) {
      case 'n':
        return U'\n';
      case 'r':
        return U'\r';
      case 't':
        return U'\t';
      case '\\':
      case '"':
      case '[':
      case ']':
      case '-':
      case '^':
        return static_cast<char32_t>(escape);
      case 'x':
        return ParseHex(start, 2);
      case 'u':
        return ParseHex(start, 4);
      case 'U':
        return ParseHex(start, 8);
      default:
        position_ = start;
        return ErrorAt(start,
                       "expected an escape behind \\: one of n r t \\ \" [ ] - ^ xHH uHHHH "
                       "UHHHHHHHH");
    }
  }

  absl::StatusOr<char32_t> ParseHex(size_t escape_start, int digits) {
    uint64_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char c = Peek();
      uint64_t digit;
      if (c >= '0' && c <= '9') {
        digit = static_cast<uint64_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint64_t>(c - 'a' + 10);
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint64_t>(c - 'A' + 10);
      } else {
        return Expected(StrCat("a hexadecimal digit, of ", digits));
      }
      value = value * 16 + digit;
      ++position_;
    }
    if (value > kCodePointMax || IsSurrogate(static_cast<char32_t>(value))) {
      return ErrorAt(escape_start,
                     StrCat(Escaped(text_.substr(escape_start, position_ - escape_start)),
                            " is no character"));
    }
    return static_cast<char32_t>(value);
  }

  absl::StatusOr<GrammarRules> Finish() {
    for (size_t i = 0; i < uses_.size(); ++i) {
      if (!uses_[i].defined_at.has_value()) {
        return ErrorAt(uses_[i].first_use,
                       StrCat("the rule ", Escaped(rules_.rules[i].name), " is not defined"));
      }
    }
    const auto root = numbers_.find("root");
    if (root == numbers_.end()) {
      return absl::InvalidArgumentError("grammar: no rule is called root");
    }
    rules_.root = root->second;
    return std::move(rules_);
  }

  const std::string_view text_;
  const GrammarLimits& limits_;
  size_t position_ = 0;
  GrammarRules rules_;
  std::vector<RuleUse> uses_;  // of rules_.rules
  absl::flat_hash_map<std::string, uint32_t> numbers_;
};

}  // namespace

absl::StatusOr<GrammarRules> ParseGbnf(std::string_view text, const GrammarLimits& limits) {
  return GbnfParser(text, limits).Parse();
}

}  // namespace baton
