#include "engine/model/chat/methods.h"

#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/python_text.h"
#include "engine/model/chat/text_edits.h"
#include "engine/model/chat/value_text.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;
using Call = absl::StatusOr<Value> (*)(const Method&, const Arguments&, Workspace&);
struct Entry {
  std::string_view name;
  Call call;
};

// ---- str

absl::StatusOr<Value> Strip(const Method& method, const Arguments& arguments,
                            Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"chars"}));
  ASSIGN_OR_RETURN(const MarkedText* const characters, bound.Text(0));
  const Side side = method.name == "lstrip"   ? Side::kLeft
                    : method.name == "rstrip" ? Side::kRight
                                              : Side::kBoth;
  const MarkedText& text = method.self.text();
  RETURN_IF_ERROR(workspace.SpendText(text.size()));
  std::optional<std::string_view> stripped;
  if (characters != nullptr) stripped = characters->bytes();
  // Each character of one is looked for in the other.
  RETURN_IF_ERROR(workspace.SpendText(text.size() * (stripped ? stripped->size() : 0) / 4));
  return workspace.Text(text.Sub(Stripped(text.bytes(), side, stripped)));
}

absl::StatusOr<Value> Split(const Method& method, const Arguments& arguments,
                            Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"sep", "maxsplit"}));
  ASSIGN_OR_RETURN(const MarkedText* const separator, bound.Text(0));
  ASSIGN_OR_RETURN(const auto splits_max, bound.Integer(1));
  SplitBy by{.separator = std::nullopt,
             .splits_max = splits_max.value_or(-1),
             .from_right = method.name == "rsplit"};
  if (separator != nullptr) by.separator = separator->bytes();
  if (by.separator == "") return absl::InvalidArgumentError("split: the separator is empty");
  const MarkedText& text = method.self.text();
  RETURN_IF_ERROR(workspace.SpendText(text.size()));
  return PartsOf(text, SplitText(text.bytes(), by), workspace);
}

absl::StatusOr<Value> SplitLinesOf(const Method& method, const Arguments& arguments,
                                   Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"keepends"}));
  const MarkedText& text = method.self.text();
  return PartsOf(text, SplitLines(text.bytes(), bound.True(0, false)), workspace);
}

// startswith and endswith; a tuple is several that may be there.
absl::StatusOr<Value> StartsOrEnds(const Method& method, const Arguments& arguments,
                                   Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"prefix"}, 1));
  std::vector<Value> wanted = {bound[0]};
  if (bound[0].Is(Kind::kList) && bound[0].list().tuple) wanted = bound[0].list().items;
  const std::string_view text = method.self.text().bytes();
  for (const Value& each : wanted) {
    if (!each.IsText()) return TypeError(StrCat("a string for ", method.name), each);
    RETURN_IF_ERROR(workspace.SpendText(each.text().size()));
    const std::string& part = each.text().bytes();
    if (method.name == "startswith" ? text.starts_with(part) : text.ends_with(part)) {
      return Value::Bool(true);
    }
  }
  return Value::Bool(false);
}

absl::StatusOr<Value> RemoveEnd(const Method& method, const Arguments& arguments,
                                Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"part"}, 1));
  ASSIGN_OR_RETURN(const MarkedText* const part, bound.Text(0));
  const MarkedText& text = method.self.text();
  MarkedText::Range kept = {0, text.size()};
  if (part != nullptr && method.name == "removeprefix") {
    if (text.bytes().starts_with(part->bytes())) kept.begin = part->size();
  } else if (part != nullptr && text.bytes().ends_with(part->bytes())) {
    kept.end -= part->size();
  }
  return workspace.Text(text.Sub(kept));
}

absl::StatusOr<Value> ChangeCase(const Method& method, const Arguments& arguments,
                                 Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind(method.name, arguments, {}).status());
  const LetterCase wanted = method.name == "upper"   ? LetterCase::kUpper
                            : method.name == "lower" ? LetterCase::kLower
                            : method.name == "title" ? LetterCase::kTitle
                                                     : LetterCase::kCapitalized;
  RETURN_IF_ERROR(workspace.SpendText(method.self.text().size() * kCaseCost));
  return workspace.Text(WithCase(method.self.text(), wanted));
}

absl::StatusOr<Value> ReplaceIn(const Method& method, const Arguments& arguments,
                                Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind(method.name, arguments, {"old", "new", "count"}, 2));
  ASSIGN_OR_RETURN(const MarkedText* const from, bound.Text(0));
  ASSIGN_OR_RETURN(const MarkedText* const to, bound.Text(1));
  ASSIGN_OR_RETURN(const auto count, bound.Integer(2));
  if (from == nullptr || to == nullptr) return TypeError("a string for replace", Value::None());
  return Replace(method.self.text(), {*from, *to, count.value_or(-1)}, workspace);
}

// find, rfind, index, rindex and count; positions are of characters.
absl::StatusOr<Value> Find(const Method& method, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"sub"}, 1));
  if (!bound[0].IsText()) return TypeError(StrCat("a string for ", method.name), bound[0]);
  const std::string_view text = method.self.text().bytes();
  const std::string_view wanted = bound[0].text().bytes();
  const bool right = method.name.starts_with("r");
  RETURN_IF_ERROR(workspace.SpendText(text.size() + wanted.size()));
  if (method.name == "count") {
    if (wanted.empty()) return Value::Int(CharacterCount(text) + 1);
    int64_t count = 0;
    for (size_t at = FindText(text, wanted, 0); at != text.npos;
         at = FindText(text, wanted, at + wanted.size())) {
      ++count;
    }
    return Value::Int(count);
  }
  const size_t found = right ? FindLastText(text, wanted) : FindText(text, wanted, 0);
  if (found != text.npos) return Value::Int(CharacterCount(text.substr(0, found)));
  if (method.name.ends_with("find")) return Value::Int(-1);
  return absl::InvalidArgumentError(StrCat(method.name, ": the string is not in the other"));
}

absl::StatusOr<Value> JoinItems(const Method& method, const Arguments& arguments,
                                Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"iterable"}, 1));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Items(bound[0], workspace));
  for (const Value& item : items) {
    if (!item.IsText()) return TypeError("a list of strings for join", item);
  }
  return Join(items, method.self.text(), workspace);
}

absl::StatusOr<Value> IsDigits(const Method& method, const Arguments& arguments,
                               Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind(method.name, arguments, {}).status());
  const std::string_view text = method.self.text().bytes();
  RETURN_IF_ERROR(workspace.SpendText(text.size()));
  return Value::Bool(IsAllDigits(text));
}

// "{} {0} {name}".format(...), without conversions and formats.
absl::StatusOr<Value> Format(const Method& method, const Arguments& arguments,
                             Workspace& workspace) {
  const MarkedText& text = method.self.text();
  const std::string_view bytes = text.bytes();
  MarkedText result;
  size_t next = 0;
  for (size_t at = 0; at < bytes.size();) {
    const size_t brace = std::min(bytes.find_first_of("{}", at), bytes.size());
    result.Append(text, {at, brace});
    RETURN_IF_ERROR(workspace.SpendText(brace - at));
    if (brace == bytes.size()) break;
    if (brace + 1 < bytes.size() && bytes[brace + 1] == bytes[brace]) {
      result.Append(text, {brace, brace + 1});
      at = brace + 2;
      continue;
    }
    const size_t end = bytes.find('}', brace);
    if (bytes[brace] == '}' || end == bytes.npos) {
      return absl::InvalidArgumentError("format: a brace has no other");
    }
    const std::string_view field = bytes.substr(brace + 1, end - brace - 1);
    size_t index = next;
    const auto [stop, error] = std::from_chars(field.data(), field.data() + field.size(), index);
    const bool numbered = error == std::errc() && stop == field.data() + field.size();
    const auto named =
        std::find_if(arguments.named.begin(), arguments.named.end(),
                     [field](const auto& argument) { return argument.first == field; });
    Value value;
    if (field.empty() || numbered) {
      if (index >= arguments.values.size()) {
        return absl::InvalidArgumentError(StrCat("format: there is no argument ", index));
      }
      value = arguments.values[index];
      next = index + 1;
    } else if (named != arguments.named.end()) {
      value = named->second;
    } else {
      return absl::InvalidArgumentError(
          StrCat("format: there is no argument '", Escaped(field), "'"));
    }
    ASSIGN_OR_RETURN(const MarkedText shown, ToText(value, workspace));
    RETURN_IF_ERROR(workspace.SpendText(shown.size()));
    result.Append(shown);
    at = end + 1;
  }
  return workspace.Text(std::move(result));
}

constexpr Entry kTextMethods[] = {
    {"strip", Strip},
    {"lstrip", Strip},
    {"rstrip", Strip},
    {"split", Split},
    {"rsplit", Split},
    {"splitlines", SplitLinesOf},
    {"startswith", StartsOrEnds},
    {"endswith", StartsOrEnds},
    {"removeprefix", RemoveEnd},
    {"removesuffix", RemoveEnd},
    {"upper", ChangeCase},
    {"lower", ChangeCase},
    {"title", ChangeCase},
    {"capitalize", ChangeCase},
    {"replace", ReplaceIn},
    {"find", Find},
    {"rfind", Find},
    {"index", Find},
    {"rindex", Find},
    {"count", Find},
    {"join", JoinItems},
    {"format", Format},
    {"isdigit", IsDigits},
};

// ---- dict

// items, keys and values
absl::StatusOr<Value> DictParts(const Method& method, const Arguments& arguments,
                                Workspace& workspace) {
  RETURN_IF_ERROR(Bound::Bind(method.name, arguments, {}).status());
  std::vector<Value> parts;
  for (const Dict::Entry& entry : method.self.dict().entries()) {
    Value part = method.name == "keys" ? entry.key : entry.value;
    if (method.name == "items") {
      ASSIGN_OR_RETURN(part, workspace.List({entry.key, entry.value}, true));
    }
    parts.push_back(part);
  }
  return workspace.List(std::move(parts));
}

absl::StatusOr<Value> DictGet(const Method& method, const Arguments& arguments,
                              Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"key", "default"}, 1));
  RETURN_IF_ERROR(workspace.SpendText(bound[0].IsText() ? bound[0].text().size() : 0));
  const Value* const found = method.self.dict().Find(bound[0]);
  if (found != nullptr) return *found;
  return bound.has(1) ? bound[1] : Value::None();
}

constexpr Entry kDictMethods[] = {
    {"items", DictParts}, {"keys", DictParts}, {"values", DictParts}, {"get", DictGet}};

// ---- list

absl::StatusOr<Value> Append(const Method& method, const Arguments& arguments,
                             Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"object"}, 1));
  if (method.self.list().tuple) {
    return absl::InvalidArgumentError("'tuple object' has no attribute 'append'");
  }
  RETURN_IF_ERROR(workspace.SpendItems(1));
  method.self.list().items.push_back(bound[0]);
  return Value::None();
}

absl::StatusOr<Value> Pop(const Method& method, const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"index"}));
  ASSIGN_OR_RETURN(const auto index, bound.Integer(0));
  if (method.self.list().tuple) {
    return absl::InvalidArgumentError("'tuple object' has no attribute 'pop'");
  }
  std::vector<Value>& items = method.self.list().items;
  const int64_t count = std::ssize(items);
  const int64_t at = index.value_or(-1) + (index.value_or(-1) < 0 ? count : 0);
  if (at < 0 || at >= count) {
    return absl::InvalidArgumentError(
        StrCat("pop: a list of ", count, " items has none at ", index.value_or(-1)));
  }
  RETURN_IF_ERROR(workspace.Spend((count - at) / kTextBytesPerStep));
  const Value popped = items[static_cast<size_t>(at)];
  items.erase(items.begin() + at);
  return popped;
}

// index and count
absl::StatusOr<Value> FindInList(const Method& method, const Arguments& arguments,
                                 Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind(method.name, arguments, {"value"}, 1));
  int64_t count = 0;
  const std::vector<Value>& items = method.self.list().items;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool same, Equal(items[i], bound[0], workspace));
    if (same && method.name == "index") return Value::Int(static_cast<int64_t>(i));
    count += same ? 1 : 0;
  }
  if (method.name == "count") return Value::Int(count);
  return absl::InvalidArgumentError("index: the value is not in the list");
}

constexpr Entry kListMethods[] = {
    {"append", Append}, {"pop", Pop}, {"index", FindInList}, {"count", FindInList}};

std::span<const Entry> MethodsOf(const Value& self) {
  switch (self.kind()) {
    case Kind::kText:
      return kTextMethods;
    case Kind::kDict:
      return kDictMethods;
    case Kind::kList:
      return kListMethods;
    default:
      return {};
  }
}

const Entry* FindEntry(const Value& self, std::string_view name) {
  const std::span<const Entry> methods = MethodsOf(self);
  const auto found = std::find_if(methods.begin(), methods.end(),
                                  [name](const Entry& entry) { return entry.name == name; });
  return found == methods.end() ? nullptr : &*found;
}

}  // namespace

std::optional<std::string_view> FindMethod(const Value& self, std::string_view name) {
  const Entry* const entry = FindEntry(self, name);
  return entry == nullptr ? std::nullopt : std::optional(entry->name);
}

absl::StatusOr<Value> CallMethod(const Method& method, const Arguments& arguments,
                                 Workspace& workspace) {
  const Entry* const entry = FindEntry(method.self, method.name);
  if (entry == nullptr) {
    return absl::InternalError(StrCat("the method '", method.name, "' is not known"));
  }
  return entry->call(method, arguments, workspace);
}

}  // namespace baton::chat
