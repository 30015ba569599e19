#include "engine/model/chat/filters.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/json_parser.h"
#include "engine/model/chat/list_filters.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/chat/text_edits.h"
#include "engine/model/chat/value_text.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;
using Apply = absl::StatusOr<Value> (*)(const Value&, const Arguments&, Workspace&);
struct Entry {
  std::string_view name;
  Apply apply;
};

// ---- of texts: other values as their text

template <LetterCase kCase>
absl::StatusOr<Value> Case(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("a filter of case", arguments, {}).status());
  ASSIGN_OR_RETURN(const MarkedText text, ToText(value, workspace));
  RETURN_IF_ERROR(workspace.SpendText(text.size() * kCaseCost));
  return workspace.Text(WithCase(text, kCase));
}

absl::StatusOr<Value> Trim(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("trim", arguments, {"chars"}));
  ASSIGN_OR_RETURN(const MarkedText* const characters, bound.Text(0));
  ASSIGN_OR_RETURN(const MarkedText text, ToText(value, workspace));
  std::optional<std::string_view> trimmed;
  if (characters != nullptr) trimmed = characters->bytes();
  RETURN_IF_ERROR(workspace.SpendText(text.size() * (trimmed ? trimmed->size() / 4 + 1 : 1)));
  return workspace.Text(text.Sub(Stripped(text.bytes(), Side::kBoth, trimmed)));
}

absl::StatusOr<Value> ReplaceAll(const Value& value, const Arguments& arguments,
                                 Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("replace", arguments, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const MarkedText from, ToText(bound[0], workspace));
  ASSIGN_OR_RETURN(const MarkedText to, ToText(bound[1], workspace));
  ASSIGN_OR_RETURN(const auto count, bound.Integer(2));
  ASSIGN_OR_RETURN(const MarkedText text, ToText(value, workspace));
  return Replace(text, {from, to, count.value_or(-1)}, workspace);
}

absl::StatusOr<Value> Indent(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("indent", arguments, {"width", "first", "blank"}));
  MarkedText space("    ", Origin::kTemplate);
  if (bound.has(0) && bound[0].IsText()) {
    space = bound[0].text();
  } else {
    ASSIGN_OR_RETURN(const auto width, bound.Integer(0));
    const auto count = static_cast<size_t>(std::clamp<int64_t>(width.value_or(4), 0, 1024));
    space = MarkedText(std::string(count, ' '), Origin::kTemplate);
  }
  const bool blank = bound.True(2, false);
  ASSIGN_OR_RETURN(const MarkedText text, ToText(value, workspace));
  MarkedText result;
  if (bound.True(1, false)) result.Append(space);
  // A line end at the text's end is followed by an empty line.
  std::vector<MarkedText::Range> lines = SplitLines(text.bytes(), false);
  if (text.empty() || text.bytes().ends_with('\n')) lines.push_back({text.size(), text.size()});
  for (size_t i = 0; i < lines.size(); ++i) {
    RETURN_IF_ERROR(workspace.SpendText(space));
    if (i > 0) {
      result.Append("\n", Origin::kTemplate);
      if (blank || lines[i].begin < lines[i].end) result.Append(space);
    }
    result.Append(text, lines[i]);
  }
  return workspace.Text(std::move(result));
}

absl::StatusOr<Value> String(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("string", arguments, {}).status());
  ASSIGN_OR_RETURN(MarkedText text, ToText(value, workspace));
  return workspace.Text(std::move(text));
}

absl::StatusOr<Value> Json(const Value& value, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(
      const Bound bound,
      Bound::Bind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonStyle style{.sort_keys = bound.True(3, false), .ensure_ascii = bound.True(0, false)};
  if (bound.has(1) && bound[1].IsText()) {
    style.indent = bound[1].text().bytes();
  } else {
    ASSIGN_OR_RETURN(const auto indent, bound.Integer(1));
    if (indent.has_value()) {
      style.indent = std::string(static_cast<size_t>(std::clamp<int64_t>(*indent, 0, 1024)), ' ');
    }
  }
  if (style.indent.has_value()) style.item_separator = std::string(1, ',');
  if (bound.has(2) && !bound[2].IsNone()) {
    const bool pair = bound[2].Is(Kind::kList) && bound[2].list().items.size() == 2 &&
                      bound[2].list().items[0].IsText() && bound[2].list().items[1].IsText();
    if (!pair) return absl::InvalidArgumentError("tojson: 'separators' must be two strings");
    style.item_separator = bound[2].list().items[0].text().bytes();
    style.key_separator = bound[2].list().items[1].text().bytes();
  }
  ASSIGN_OR_RETURN(MarkedText text, ToJson(value, style, workspace));
  return workspace.Text(std::move(text));
}

// Not Jinja's: templates that llama.cpp brings for DeepSeek's models use it.
absl::StatusOr<Value> FromJson(const Value& value, const Arguments& arguments,
                               Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("from_json", arguments, {}).status());
  if (!value.IsText()) return TypeError("a string for from_json", value);
  return ParseJson(value.text().bytes(), workspace);
}

// ---- of numbers

// The number that a text spells as a whole, but for white space around it.
std::optional<double> NumberOf(std::string_view text) {
  const MarkedText::Range inside = Stripped(text, Side::kBoth, std::nullopt);
  const std::string_view spelled = text.substr(inside.begin, inside.end - inside.begin);
  const char* first = spelled.data();
  const char* const last = first + spelled.size();
  if (spelled.starts_with('+')) ++first;
  double value = 0;
  const auto [end, error] = std::from_chars(first, last, value);
  return error == std::errc() && end == last ? std::optional(value) : std::nullopt;
}

absl::StatusOr<Value> ToInt(const Value& value, const Arguments& arguments,
                            Workspace& /*workspace*/) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("int", arguments, {"default", "base"}));
  ASSIGN_OR_RETURN(const auto base, bound.Integer(1));
  if (value.IsUndefined()) return UndefinedError(value);
  if (value.IsInteger()) return Value::Int(value.integer());
  std::optional<double> number;
  if (value.IsText()) {
    const std::string_view text = value.text().bytes();
    const MarkedText::Range inside = Stripped(text, Side::kBoth, std::nullopt);
    const char* const last = text.data() + inside.end;
    int64_t whole = 0;
    const int radix = static_cast<int>(std::clamp<int64_t>(base.value_or(10), 2, 36));
    const auto [end, error] = std::from_chars(text.data() + inside.begin, last, whole, radix);
    if (error == std::errc() && end == last) return Value::Int(whole);
    number = NumberOf(text);
  } else if (value.Is(Kind::kFloat)) {
    number = value.number();
  }
  // Within what 64 bits hold.
  if (number.has_value() && std::abs(*number) < 0x1p63) {
    return Value::Int(static_cast<int64_t>(*number));
  }
  return bound.has(0) ? bound[0] : Value::Int(0);
}

absl::StatusOr<Value> ToFloat(const Value& value, const Arguments& arguments,
                              Workspace& /*workspace*/) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("float", arguments, {"default"}));
  if (value.IsUndefined()) return UndefinedError(value);
  if (value.IsNumber()) return Value::Float(value.number());
  const auto number = value.IsText() ? NumberOf(value.text().bytes()) : std::optional<double>();
  if (number.has_value()) return Value::Float(*number);
  return bound.has(0) ? bound[0] : Value::Float(0);
}

absl::StatusOr<Value> Absolute(const Value& value, const Arguments& arguments,
                               Workspace& /*workspace*/) {
  RETURN_IF_ERROR(Bound::Bind("abs", arguments, {}).status());
  if (!value.IsNumber()) return TypeError("a number for abs", value);
  const bool negative = value.number() < 0;
  return negative ? Negate(value) : value;
}

absl::StatusOr<Value> Round(const Value& value, const Arguments& arguments,
                            Workspace& /*workspace*/) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("round", arguments, {"precision", "method"}));
  ASSIGN_OR_RETURN(const auto precision, bound.Integer(0));
  ASSIGN_OR_RETURN(const MarkedText* const method, bound.Text(1));
  if (!value.IsNumber()) return TypeError("a number for round", value);
  const auto digits = static_cast<double>(std::clamp<int64_t>(precision.value_or(0), -300, 300));
  const double scale = std::pow(10.0, digits);
  const double scaled = value.number() * scale;
  const std::string how = method != nullptr ? method->bytes() : "common";
  if (how == "ceil") return Value::Float(std::ceil(scaled) / scale);
  if (how == "floor") return Value::Float(std::floor(scaled) / scale);
  if (how == "common") return Value::Float(std::nearbyint(scaled) / scale);
  return absl::InvalidArgumentError("round: 'method' must be common, ceil or floor");
}

// ---- of anything

absl::StatusOr<Value> Default(const Value& value, const Arguments& arguments,
                              Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("default", arguments, {"default_value", "boolean"}));
  const bool absent = value.IsUndefined() || (bound.True(1, false) && !IsTrue(value));
  if (!absent) return value;
  return bound.has(0) ? bound[0] : workspace.Text("");
}

absl::StatusOr<Value> Count(const Value& value, const Arguments& arguments, Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind("length", arguments, {}).status());
  ASSIGN_OR_RETURN(const int64_t count, Length(value, workspace));
  return Value::Int(count);
}

absl::StatusOr<Value> Attribute(const Value& value, const Arguments& arguments,
                                Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("attr", arguments, {"name"}, 1));
  if (!bound[0].IsText()) return TypeError("a string for attr", bound[0]);
  return GetAttribute(value, bound[0].text().bytes(), workspace);
}

absl::StatusOr<Value> Safe(const Value& value, const Arguments& arguments,
                           Workspace& /*workspace*/) {
  RETURN_IF_ERROR(Bound::Bind("safe", arguments, {}).status());
  return value;
}

constexpr Entry kFilters[] = {
    {"abs", Absolute},
    {"attr", Attribute},
    {"capitalize", Case<LetterCase::kCapitalized>},
    {"count", Count},
    {"d", Default},
    {"default", Default},
    {"float", ToFloat},
    {"from_json", FromJson},
    {"indent", Indent},
    {"int", ToInt},
    {"length", Count},
    {"lower", Case<LetterCase::kLower>},
    {"replace", ReplaceAll},
    {"round", Round},
    {"safe", Safe},
    {"string", String},
    {"title", Case<LetterCase::kJinjaTitle>},
    {"tojson", Json},
    {"trim", Trim},
    {"upper", Case<LetterCase::kUpper>},
    {"dictsort", DictSort},
    {"first", First},
    {"items", DictItems},
    {"join", JoinList},
    {"last", Last},
    {"list", ToList},
    {"map", Map},
    {"max", Max},
    {"min", Min},
    {"reject", Reject},
    {"rejectattr", RejectAttribute},
    {"reverse", Reverse},
    {"select", Select},
    {"selectattr", SelectAttribute},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

const Entry* FindFilter(std::string_view name) {
  const auto found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                  [name](const Entry& entry) { return entry.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace

bool HasFilter(std::string_view name) { return FindFilter(name) != nullptr; }

absl::StatusOr<Value> ApplyFilter(std::string_view name, const Value& value,
                                  const Arguments& arguments, Workspace& workspace) {
  const Entry* const filter = FindFilter(name);
  if (filter == nullptr) {
    return absl::InvalidArgumentError(StrCat("there is no filter '", Escaped(name), "'"));
  }
  RETURN_IF_ERROR(workspace.Spend(1));
  return filter->apply(value, arguments, workspace);
}

}  // namespace baton::chat
