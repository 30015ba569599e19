#include "engine/model/chat/json_parser.h"

#include <charconv>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/utf8.h"

namespace baton::chat {
namespace {

class Parser {
 public:
  Parser(std::string_view text, Workspace& workspace) : text_(text), workspace_(workspace) {}

  absl::StatusOr<Value> ParseAll() {
    ASSIGN_OR_RETURN(const Value value, ParseValue(0));
    SkipSpace();
    if (at_ != text_.size()) return Error("nothing may follow the value");
    return value;
  }

 private:
  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(StrCat("JSON, byte ", at_, ": ", what));
  }

  void SkipSpace() {
    while (at_ < text_.size() &&
           std::string_view(" \t\r\n").find(text_[at_]) != std::string::npos) {
      ++at_;
    }
  }

  bool Take(std::string_view wanted) {
    if (!text_.substr(at_).starts_with(wanted)) return false;
    at_ += wanted.size();
    return true;
  }

  absl::StatusOr<Value> ParseValue(int depth) {
    if (depth > kValueDepthMax) {
      return Error(StrCat("values are nested deeper than ", kValueDepthMax));
    }
    RETURN_IF_ERROR(workspace_.Spend(1));
    SkipSpace();
    if (at_ == text_.size()) return Error("a value is missing");
    switch (text_[at_]) {
      case '{':
        return ParseObject(depth);
      case '[':
        return ParseArray(depth);
      case '"': {
        ASSIGN_OR_RETURN(const MarkedText* const text, ParseText());
        return Value::Text(text);
      }
      default:
        break;
    }
    if (Take("true")) return Value::Bool(true);
    if (Take("false")) return Value::Bool(false);
    if (Take("null")) return Value::None();
    return ParseNumber();
  }

  absl::StatusOr<Value> ParseObject(int depth) {
    ++at_;
    Dict* const dict = workspace_.NewDict();
    RETURN_IF_ERROR(workspace_.Spend(kValueSteps));
    SkipSpace();
    if (Take("}")) return Value::OfDict(dict);
    while (true) {
      SkipSpace();
      if (at_ == text_.size() || text_[at_] != '"') return Error("a key in quotes is missing");
      ASSIGN_OR_RETURN(const MarkedText* const key, ParseText());
      SkipSpace();
      if (!Take(":")) return Error("':' is missing");
      ASSIGN_OR_RETURN(const Value value, ParseValue(depth + 1));
      dict->Set(key, value);
      SkipSpace();
      if (Take("}")) return Value::OfDict(dict);
      if (!Take(",")) return Error("',' or '}' is missing");
    }
  }

  absl::StatusOr<Value> ParseArray(int depth) {
    ++at_;
    std::vector<Value> items;
    SkipSpace();
    if (Take("]")) return workspace_.List({});
    while (true) {
      ASSIGN_OR_RETURN(const Value value, ParseValue(depth + 1));
      items.push_back(value);
      SkipSpace();
      if (Take("]")) return workspace_.List(std::move(items));
      if (!Take(",")) return Error("',' or ']' is missing");
    }
  }

  absl::StatusOr<Value> ParseNumber() {
    const size_t begin = at_;
    const auto digits = [this] {
      const size_t first = at_;
      while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
      return at_ - first;
    };
    Take("-");
    const size_t first_digit = at_;
    const size_t whole = digits();
    if (whole == 0) return Error("this is no value");
    if (whole > 1 && text_[first_digit] == '0') return Error("a number must not start with 0");
    bool integer = true;
    if (Take(".")) {
      integer = false;
      if (digits() == 0) return Error("a digit is missing");
    }
    if (Take("e") || Take("E")) {
      integer = false;
      if (!Take("+")) Take("-");
      if (digits() == 0) return Error("a digit is missing");
    }
    const char* const first = text_.data() + begin;
    const char* const last = text_.data() + at_;
    int64_t whole_value = 0;
    if (integer && std::from_chars(first, last, whole_value).ec == std::errc()) {
      return Value::Int(whole_value);
    }
    double value = 0;
    if (std::from_chars(first, last, value).ec != std::errc()) {
      return Error("a number is out of range");
    }
    return Value::Float(value);
  }

  absl::StatusOr<uint32_t> ParseHex() {
    uint32_t code = 0;
    const char* const first = text_.data() + at_;
    if (text_.size() - at_ < 4 || std::from_chars(first, first + 4, code, 16).ptr != first + 4) {
      return Error("\\u needs four hexadecimal digits");
    }
    at_ += 4;
    return code;
  }

  absl::Status ParseEscape(std::string& out) {
    if (at_ == text_.size()) return Error("the text does not end");
    const char c = text_[at_++];
    constexpr std::string_view kEscapes = "\"\\/bfnrt";
    constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
    if (const size_t known = kEscapes.find(c); known != kEscapes.npos) {
      out.push_back(kMeaning[known]);
      return absl::OkStatus();
    }
    if (c != 'u') return Error("an escape that JSON has not");
    ASSIGN_OR_RETURN(uint32_t code, ParseHex());
    if (code >= 0xD800 && code < 0xDC00 && Take("\\u")) {
      ASSIGN_OR_RETURN(const uint32_t low, ParseHex());
      if (low < 0xDC00 || low > 0xDFFF) return Error("half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code >= 0xD800 && code <= 0xDFFF) return Error("half of a surrogate pair");
    AppendUtf8(code, out);
    return absl::OkStatus();
  }

  absl::StatusOr<const MarkedText*> ParseText() {
    ++at_;
    std::string text;
    while (true) {
      if (at_ == text_.size()) return Error("the text does not end");
      const size_t bytes = Utf8CharBytes(text_.substr(at_));
      if (bytes == 0) return Error("the text is no UTF-8");
      if (static_cast<uint8_t>(text_[at_]) < 0x20) return Error("a control character in a text");
      if (Take("\"")) break;
      if (Take("\\")) {
        RETURN_IF_ERROR(ParseEscape(text));
      } else {
        text.append(text_.substr(at_, bytes));
        at_ += bytes;
      }
    }
    RETURN_IF_ERROR(workspace_.SpendText(text.size()));
    return workspace_.Keep(MarkedText(text, Origin::kRequest));
  }

  const std::string_view text_;
  Workspace& workspace_;
  size_t at_ = 0;
};

}  // namespace

absl::StatusOr<Value> ParseJson(std::string_view text, Workspace& workspace) {
  return Parser(text, workspace).ParseAll();
}

}  // namespace baton::chat
