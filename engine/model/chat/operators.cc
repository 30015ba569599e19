#include "engine/model/chat/operators.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/methods.h"
#include "engine/model/chat/python_text.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;

absl::Status TooDeep() {
  return absl::InvalidArgumentError(
      StrCat("lists and objects are nested deeper than ", kValueDepthMax));
}

std::string_view Sign(Operator op) {
  switch (op) {
    case Operator::kAdd:
      return "+";
    case Operator::kSubtract:
      return "-";
    case Operator::kMultiply:
      return "*";
    case Operator::kDivide:
      return "/";
    case Operator::kFloorDivide:
      return "//";
    case Operator::kModulo:
      return "%";
    case Operator::kPower:
      return "**";
    default:
      return "<";
  }
}

absl::Status Unsupported(Operator op, const Value& a, const Value& b) {
  if (a.IsUndefined()) return UndefinedError(a);
  if (b.IsUndefined()) return UndefinedError(b);
  return absl::InvalidArgumentError(
      StrCat("'", Sign(op), "' is not defined of ", TypeName(a), " and ", TypeName(b)));
}

absl::StatusOr<bool> EqualAt(const Value& a, const Value& b, int depth, Workspace& workspace) {
  if (depth > kValueDepthMax) return TooDeep();
  RETURN_IF_ERROR(workspace.Spend(1));
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInteger() && b.IsInteger() ? a.integer() == b.integer() : a.number() == b.number();
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kText:
      if (a.text().size() != b.text().size()) return false;
      RETURN_IF_ERROR(workspace.SpendText(a.text().size()));
      return a.text().bytes() == b.text().bytes();
    case Kind::kList: {
      const std::vector<Value>& left = a.list().items;
      const std::vector<Value>& right = b.list().items;
      if (left.size() != right.size() || a.list().tuple != b.list().tuple) return false;
      for (size_t i = 0; i < left.size(); ++i) {
        ASSIGN_OR_RETURN(const bool same, EqualAt(left[i], right[i], depth + 1, workspace));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kDict: {
      if (a.dict().entries().size() != b.dict().entries().size()) return false;
      for (const Dict::Entry& entry : a.dict().entries()) {
        const Value* const other = b.dict().Find(entry.key);
        if (other == nullptr) return false;
        ASSIGN_OR_RETURN(const bool same, EqualAt(entry.value, *other, depth + 1, workspace));
        if (!same) return false;
      }
      return true;
    }
    case Kind::kNamespace:
      return &a.dict() == &b.dict();
    case Kind::kLoop:
      return &a.loop() == &b.loop();
    case Kind::kMacro:
      return &a.macro() == &b.macro();
    case Kind::kFunction:
      return a.function() == b.function();
    case Kind::kMethod:
      return &a.method() == &b.method();
    case Kind::kUndefined:
    case Kind::kNone:
    case Kind::kBool:
    case Kind::kInt:
    case Kind::kFloat:
      break;
  }
  return true;
}

absl::StatusOr<bool> LessAt(const Value& a, const Value& b, int depth, Workspace& workspace) {
  if (depth > kValueDepthMax) return TooDeep();
  RETURN_IF_ERROR(workspace.Spend(1));
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInteger() && b.IsInteger() ? a.integer() < b.integer() : a.number() < b.number();
  }
  if (a.IsText() && b.IsText()) {
    RETURN_IF_ERROR(workspace.SpendText(std::min(a.text().size(), b.text().size())));
    return a.text().bytes() < b.text().bytes();
  }
  if (!a.Is(Kind::kList) || !b.Is(Kind::kList)) return Unsupported(Operator::kLess, a, b);
  const std::vector<Value>& left = a.list().items;
  const std::vector<Value>& right = b.list().items;
  for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    ASSIGN_OR_RETURN(const bool same, EqualAt(left[i], right[i], depth + 1, workspace));
    if (!same) return LessAt(left[i], right[i], depth + 1, workspace);
  }
  return left.size() < right.size();
}

absl::StatusOr<Value> CalculateIntegers(Operator op, int64_t a, int64_t b) {
  const auto overflow = [] { return absl::InvalidArgumentError("a number leaves 64 bits"); };
  int64_t result = 0;
  switch (op) {
    case Operator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return overflow();
      return Value::Int(result);
    case Operator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return overflow();
      return Value::Int(result);
    case Operator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return overflow();
      return Value::Int(result);
    case Operator::kFloorDivide:
    case Operator::kModulo: {
      if (b == 0) return absl::InvalidArgumentError("division by zero");
      if (b == -1) {  // the one quotient that may not fit
        if (op == Operator::kModulo) return Value::Int(0);
        if (__builtin_sub_overflow(int64_t{0}, a, &result)) return overflow();
        return Value::Int(result);
      }
      // Python's quotients are rounded down.
      const bool down = a % b != 0 && (a < 0) != (b < 0);
      if (op == Operator::kFloorDivide) return Value::Int(a / b - (down ? 1 : 0));
      return Value::Int(a % b + (down ? b : 0));
    }
    case Operator::kPower: {
      if (b < 0) return Value::Float(std::pow(static_cast<double>(a), static_cast<double>(b)));
      result = 1;
      // Beyond 64 factors only -1, 0 and 1 stay in bounds, and two steps of those say it all.
      for (int64_t i = 0; i < (b > 64 ? 64 + b % 2 : b); ++i) {
        if (__builtin_mul_overflow(result, a, &result)) return overflow();
      }
      return Value::Int(result);
    }
    default:
      if (b == 0) return absl::InvalidArgumentError("division by zero");
      return Value::Float(static_cast<double>(a) / static_cast<double>(b));
  }
}

absl::StatusOr<Value> CalculateFloats(Operator op, double a, double b) {
  const bool divides =
      op == Operator::kDivide || op == Operator::kFloorDivide || op == Operator::kModulo;
  if (divides && b == 0) return absl::InvalidArgumentError("division by zero");
  switch (op) {
    case Operator::kAdd:
      return Value::Float(a + b);
    case Operator::kSubtract:
      return Value::Float(a - b);
    case Operator::kMultiply:
      return Value::Float(a * b);
    case Operator::kFloorDivide:
      return Value::Float(std::floor(a / b));
    case Operator::kModulo: {
      const double rest = std::fmod(a, b);
      return Value::Float(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
    }
    case Operator::kPower:
      return Value::Float(std::pow(a, b));
    default:
      return Value::Float(a / b);
  }
}

absl::StatusOr<Value> Repeat(const Value& value, int64_t times, Workspace& workspace) {
  times = std::max<int64_t>(times, 0);
  // Bytes, of which a mark costs as many as a step has; or items.
  const auto size = static_cast<int64_t>(
      value.IsText() ? value.text().size() + value.text().from_request().size() * kTextBytesPerStep
                     : value.list().items.size());
  if (size > 0 && times > kStepsMax * kTextBytesPerStep / size) {
    return workspace.Spend(kStepsMax + 1);
  }
  if (value.IsText()) {
    RETURN_IF_ERROR(workspace.SpendText(static_cast<size_t>(size * times)));
    MarkedText text;
    for (int64_t i = 0; i < (size > 0 ? times : 0); ++i) text.Append(value.text());
    return workspace.Text(std::move(text));
  }
  RETURN_IF_ERROR(workspace.SpendItems(static_cast<size_t>(size * times)));
  std::vector<Value> items;
  for (int64_t i = 0; i < (size > 0 ? times : 0); ++i) {
    items.insert(items.end(), value.list().items.begin(), value.list().items.end());
  }
  return workspace.List(std::move(items), value.list().tuple);
}

absl::StatusOr<Value> GetLoopAttribute(const Value& object, std::string_view name,
                                       Workspace& workspace) {
  const Loop& loop = object.loop();
  const size_t length = loop.items->items.size();
  const auto number = [](size_t value) { return Value::Int(static_cast<int64_t>(value)); };
  if (name == "index") return number(loop.index0 + 1);
  if (name == "index0") return number(loop.index0);
  if (name == "revindex") return number(length - loop.index0);
  if (name == "revindex0") return number(length - loop.index0 - 1);
  if (name == "first") return Value::Bool(loop.index0 == 0);
  if (name == "last") return Value::Bool(loop.index0 + 1 == length);
  if (name == "length") return number(length);
  if (name == "previtem") {
    if (loop.index0 == 0) return workspace.Undefined("there is no previous item");
    return loop.items->items[loop.index0 - 1];
  }
  if (name == "nextitem") {
    if (loop.index0 + 1 == length) return workspace.Undefined("there is no next item");
    return loop.items->items[loop.index0 + 1];
  }
  return Value();
}

// A value by its key, or by its place; undefined without a reason: there is none.
absl::StatusOr<Value> FindItem(const Value& object, const Value& key, Workspace& workspace) {
  if (object.Is(Kind::kDict)) {
    if (key.IsText()) RETURN_IF_ERROR(workspace.SpendText(key.text().size()));
    const Value* const found = object.dict().Find(key);
    return found != nullptr ? *found : Value();
  }
  if (!key.IsInteger() || (!object.Is(Kind::kList) && !object.IsText())) return Value();
  int64_t at = key.integer();
  if (object.Is(Kind::kList)) {
    const std::vector<Value>& items = object.list().items;
    if (at < 0) at += std::ssize(items);
    if (at < 0 || at >= std::ssize(items)) return Value();
    return items[static_cast<size_t>(at)];
  }
  const MarkedText& text = object.text();
  RETURN_IF_ERROR(workspace.SpendText(text.size()));
  const std::vector<size_t> starts = CharacterStarts(text.bytes());
  const int64_t count = std::ssize(starts) - 1;
  if (at < 0) at += count;
  if (at < 0 || at >= count) return Value();
  const auto index = static_cast<size_t>(at);
  return workspace.Text(text.Sub({starts[index], starts[index + 1]}));
}

Value Missing(const Value& object, std::string_view name, Workspace& workspace) {
  const bool none = object.IsNone();
  return workspace.Undefined(StrCat("'", TypeName(object), none ? "'" : " object'",
                                    " has no attribute '", Escaped(name), "'"));
}

}  // namespace

absl::Status UndefinedError(const Value& value) {
  if (value.reason() == nullptr) return absl::InvalidArgumentError("a value is undefined");
  return absl::InvalidArgumentError(value.reason()->bytes());
}

absl::Status TypeError(std::string_view wanted, const Value& value) {
  if (value.IsUndefined()) return UndefinedError(value);
  return absl::InvalidArgumentError(
      StrCat(wanted, " is needed, but a value is of type ", TypeName(value)));
}

bool IsTrue(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
      return value.boolean();
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.number() != 0;
    case Kind::kText:
      return !value.text().empty();
    case Kind::kList:
      return !value.list().items.empty();
    case Kind::kDict:
      return !value.dict().entries().empty();
    case Kind::kNamespace:
    case Kind::kLoop:
    case Kind::kMacro:
    case Kind::kMethod:
    case Kind::kFunction:
      break;
  }
  return true;
}

absl::StatusOr<bool> Equal(const Value& a, const Value& b, Workspace& workspace) {
  return EqualAt(a, b, 0, workspace);
}

absl::StatusOr<bool> Less(const Value& a, const Value& b, Workspace& workspace) {
  return LessAt(a, b, 0, workspace);
}

absl::StatusOr<bool> Contains(const Value& container, const Value& item, Workspace& workspace) {
  switch (container.kind()) {
    case Kind::kUndefined:
      return false;
    case Kind::kText:
      if (!item.IsText()) return TypeError("a string on the left of 'in'", item);
      RETURN_IF_ERROR(workspace.SpendText(container.text().size() + item.text().size()));
      return FindText(container.text().bytes(), item.text().bytes(), 0) != std::string::npos;
    case Kind::kDict:
      if (item.IsText()) RETURN_IF_ERROR(workspace.SpendText(item.text().size()));
      return container.dict().Find(item) != nullptr;
    case Kind::kList:
      for (const Value& each : container.list().items) {
        ASSIGN_OR_RETURN(const bool same, Equal(each, item, workspace));
        if (same) return true;
      }
      return false;
    default:
      return TypeError("a string, list or object on the right of 'in'", container);
  }
}

absl::StatusOr<bool> Compare(Operator op, const Value& a, const Value& b, Workspace& workspace) {
  bool negated = false;
  absl::StatusOr<bool> holds = false;
  switch (op) {
    case Operator::kNotEqual:
      negated = true;
      [[fallthrough]];
    case Operator::kEqual:
      holds = Equal(a, b, workspace);
      break;
    case Operator::kNotIn:
      negated = true;
      [[fallthrough]];
    case Operator::kIn:
      holds = Contains(b, a, workspace);
      break;
    case Operator::kLess:
    case Operator::kGreater:
      holds = op == Operator::kLess ? Less(a, b, workspace) : Less(b, a, workspace);
      break;
    default: {  // <= and >=: NaN is neither less nor equal
      holds = op == Operator::kLessOrEqual ? Less(a, b, workspace) : Less(b, a, workspace);
      if (holds.ok() && !*holds) holds = Equal(a, b, workspace);
      break;
    }
  }
  if (!holds.ok()) return holds.status();
  return *holds != negated;
}

absl::StatusOr<Value> Calculate(Operator op, const Value& a, const Value& b, Workspace& workspace) {
  if (a.IsNumber() && b.IsNumber()) {
    return a.IsInteger() && b.IsInteger() ? CalculateIntegers(op, a.integer(), b.integer())
                                          : CalculateFloats(op, a.number(), b.number());
  }
  if (op == Operator::kAdd && a.IsText() && b.IsText()) {
    MarkedText text = a.text();
    text.Append(b.text());
    return workspace.Text(std::move(text));
  }
  if (op == Operator::kAdd && a.Is(Kind::kList) && b.Is(Kind::kList) &&
      a.list().tuple == b.list().tuple) {
    RETURN_IF_ERROR(workspace.SpendItems(a.list().items.size() + b.list().items.size()));
    std::vector<Value> items = a.list().items;
    items.insert(items.end(), b.list().items.begin(), b.list().items.end());
    return workspace.List(std::move(items), a.list().tuple);
  }
  if (op == Operator::kMultiply) {
    const auto repeats = [](const Value& value) { return value.IsText() || value.Is(Kind::kList); };
    if (repeats(a) && b.IsInteger()) return Repeat(a, b.integer(), workspace);
    if (repeats(b) && a.IsInteger()) return Repeat(b, a.integer(), workspace);
  }
  return Unsupported(op, a, b);
}

absl::StatusOr<Value> Negate(const Value& value) {
  if (value.Is(Kind::kFloat)) return Value::Float(-value.number());
  if (!value.IsInteger()) return TypeError("a number behind '-'", value);
  return CalculateIntegers(Operator::kSubtract, 0, value.integer());
}

absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name,
                                   Workspace& workspace) {
  if (object.IsUndefined()) return UndefinedError(object);
  if (object.Is(Kind::kNamespace)) {
    const Value* const found = object.dict().Find(name);
    return found != nullptr ? *found : Missing(object, name, workspace);
  }
  if (object.Is(Kind::kLoop)) {
    ASSIGN_OR_RETURN(const Value found, GetLoopAttribute(object, name, workspace));
    if (!found.IsUndefined() || found.reason() != nullptr) return found;
  }
  if (const auto method = FindMethod(object, name)) {
    RETURN_IF_ERROR(workspace.Spend(kValueSteps));
    return workspace.NewMethod({.self = object, .name = *method});
  }
  if (object.Is(Kind::kDict)) {
    const Value* const found = object.dict().Find(name);
    if (found != nullptr) return *found;
  }
  return Missing(object, name, workspace);
}

absl::StatusOr<Value> GetItem(const Value& object, const Value& key, Workspace& workspace) {
  if (object.IsUndefined()) return UndefinedError(object);
  ASSIGN_OR_RETURN(const Value found, FindItem(object, key, workspace));
  if (!found.IsUndefined() || found.reason() != nullptr) return found;
  if (key.IsText()) return GetAttribute(object, key.text().bytes(), workspace);
  if (key.IsUndefined()) return Missing(object, "Undefined", workspace);
  if (key.IsInteger()) {
    return workspace.Undefined(
        StrCat("'", TypeName(object), " object' has no item ", key.integer()));
  }
  return Missing(object, TypeName(key), workspace);
}

absl::StatusOr<Value> GetSlice(const Value& object, const SliceBounds& bounds,
                               Workspace& workspace) {
  if (!object.IsText() && !object.Is(Kind::kList)) {
    return TypeError("a string or list before '[:]'", object);
  }
  if (bounds.step == 0) return absl::InvalidArgumentError("a slice's step must not be 0");
  std::vector<size_t> starts;
  int64_t count = 0;
  if (object.IsText()) {
    RETURN_IF_ERROR(workspace.SpendText(object.text().size()));
    starts = CharacterStarts(object.text().bytes());
    count = std::ssize(starts) - 1;
  } else {
    count = std::ssize(object.list().items);
  }
  const bool back = bounds.step < 0;
  // Python: what is negative counts from the end, what is beyond an end is that end.
  const auto place = [&](std::optional<int64_t> given, int64_t absent) {
    if (!given.has_value()) return absent;
    const int64_t at = *given < 0 ? *given + count : *given;
    return std::clamp<int64_t>(at, back ? -1 : 0, back ? count - 1 : count);
  };
  const int64_t first = place(bounds.begin, back ? count - 1 : 0);
  const int64_t end = place(bounds.end, back ? -1 : count);
  // More than `count` in one step leaves either way, and the sum stays in 64 bits.
  const int64_t step = std::clamp<int64_t>(bounds.step, -count - 1, count + 1);
  std::vector<Value> items;
  MarkedText text;
  if (object.IsText() && step == 1) {
    if (first < end) {
      text =
          object.text().Sub({starts[static_cast<size_t>(first)], starts[static_cast<size_t>(end)]});
    }
    return workspace.Text(std::move(text));
  }
  for (int64_t at = first; back ? at > end : at < end; at += step) {
    const auto index = static_cast<size_t>(at);
    if (object.IsText()) {
      text.Append(object.text(), {starts[index], starts[index + 1]});
    } else {
      items.push_back(object.list().items[index]);
    }
  }
  if (object.IsText()) return workspace.Text(std::move(text));
  return workspace.List(std::move(items), object.list().tuple);
}

absl::StatusOr<std::vector<Value>> Items(const Value& value, Workspace& workspace) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::kUndefined:
      return items;
    case Kind::kList:
      RETURN_IF_ERROR(workspace.SpendItems(value.list().items.size()));
      return value.list().items;
    case Kind::kDict:
      RETURN_IF_ERROR(workspace.SpendItems(value.dict().entries().size()));
      for (const Dict::Entry& entry : value.dict().entries()) {
        items.push_back(entry.key);
      }
      return items;
    case Kind::kText: {
      const std::vector<size_t> starts = CharacterStarts(value.text().bytes());
      RETURN_IF_ERROR(workspace.SpendItems(starts.size()));
      for (size_t i = 0; i + 1 < starts.size(); ++i) {
        ASSIGN_OR_RETURN(const Value character,
                         workspace.Text(value.text().Sub({starts[i], starts[i + 1]})));
        items.push_back(character);
      }
      return items;
    }
    default:
      return TypeError("a list, object or string to go over", value);
  }
}

absl::StatusOr<int64_t> Length(const Value& value, Workspace& workspace) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kText:
      RETURN_IF_ERROR(workspace.SpendText(value.text().size()));
      return CharacterCount(value.text().bytes());
    case Kind::kList:
      return std::ssize(value.list().items);
    case Kind::kDict:
      return std::ssize(value.dict().entries());
    default:
      return TypeError("a string, list or object to count", value);
  }
}

}  // namespace baton::chat
