#include "engine/model/chat/value_tests.h"

#include <algorithm>
#include <iterator>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/python_text.h"

namespace baton::chat {
namespace {

using Kind = Value::Kind;

// Tests that look at the value alone.
using Simple = bool (*)(const Value&);
struct SimpleTest {
  std::string_view name;
  Simple holds;
};

bool IsSequence(const Value& value) {
  return value.IsText() || value.Is(Kind::kList) || value.Is(Kind::kDict);
}

constexpr SimpleTest kSimpleTests[] = {
    {"boolean", [](const Value& value) { return value.Is(Kind::kBool); }},
    {"callable",
     [](const Value& value) {
       return value.Is(Kind::kMacro) || value.Is(Kind::kMethod) || value.Is(Kind::kFunction);
     }},
    {"defined", [](const Value& value) { return !value.IsUndefined(); }},
    {"false", [](const Value& value) { return value.Is(Kind::kBool) && !value.boolean(); }},
    {"float", [](const Value& value) { return value.Is(Kind::kFloat); }},
    {"integer", [](const Value& value) { return value.Is(Kind::kInt); }},
    {"iterable", [](const Value& value) { return IsSequence(value) || value.IsUndefined(); }},
    {"mapping", [](const Value& value) { return value.Is(Kind::kDict); }},
    {"none", [](const Value& value) { return value.IsNone(); }},
    {"number", [](const Value& value) { return value.IsNumber(); }},
    {"sequence", [](const Value& value) { return IsSequence(value) || value.IsUndefined(); }},
    {"string", [](const Value& value) { return value.IsText(); }},
    {"true", [](const Value& value) { return value.Is(Kind::kBool) && value.boolean(); }},
    {"undefined", [](const Value& value) { return value.IsUndefined(); }},
};

struct ComparingTest {
  std::string_view name;
  Operator op;
};
constexpr ComparingTest kComparingTests[] = {
    {"==", Operator::kEqual},
    {"eq", Operator::kEqual},
    {"equalto", Operator::kEqual},
    {"!=", Operator::kNotEqual},
    {"ne", Operator::kNotEqual},
    {">", Operator::kGreater},
    {"gt", Operator::kGreater},
    {"greaterthan", Operator::kGreater},
    {"ge", Operator::kGreaterOrEqual},
    {">=", Operator::kGreaterOrEqual},
    {"<", Operator::kLess},
    {"lt", Operator::kLess},
    {"lessthan", Operator::kLess},
    {"<=", Operator::kLessOrEqual},
    {"le", Operator::kLessOrEqual},
    {"in", Operator::kIn},
};

// Those that do something of their own.
constexpr std::string_view kOtherTests[] = {"divisibleby", "even", "odd", "sameas"};

template <class Table>
auto Find(const Table& table, std::string_view name) {
  return std::find_if(std::begin(table), std::end(table),
                      [name](const auto& entry) { return entry.name == name; });
}

absl::StatusOr<bool> Divides(const Value& value, const Value& by, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Value rest, Calculate(Operator::kModulo, value, by, workspace));
  return Equal(rest, Value::Int(0), workspace);
}

}  // namespace

bool HasTest(std::string_view name) {
  return Find(kSimpleTests, name) != std::end(kSimpleTests) ||
         Find(kComparingTests, name) != std::end(kComparingTests) ||
         std::find(std::begin(kOtherTests), std::end(kOtherTests), name) != std::end(kOtherTests);
}

absl::StatusOr<bool> ApplyTest(std::string_view name, const Value& value,
                               std::span<const Value> arguments, Workspace& workspace) {
  const auto simple = Find(kSimpleTests, name);
  const bool one = simple == std::end(kSimpleTests) && name != "even" && name != "odd";
  if (arguments.size() != (one ? 1 : 0)) {
    return absl::InvalidArgumentError(StrCat("the test '", name, "' takes ",
                                             one ? "one argument" : "no arguments",
                                             ", but is given ", arguments.size()));
  }
  if (simple != std::end(kSimpleTests)) return simple->holds(value);
  const auto comparing = Find(kComparingTests, name);
  if (comparing != std::end(kComparingTests)) {
    return Compare(comparing->op, value, arguments[0], workspace);
  }
  if (name == "divisibleby") return Divides(value, arguments[0], workspace);
  if (name == "even" || name == "odd") {
    ASSIGN_OR_RETURN(const bool even, Divides(value, Value::Int(2), workspace));
    return even == (name == "even");
  }
  if (name == "sameas") {
    if (value.kind() != arguments[0].kind()) return false;
    if (value.Is(Kind::kList)) return &value.list() == &arguments[0].list();
    if (value.Is(Kind::kDict)) return &value.dict() == &arguments[0].dict();
    return Equal(value, arguments[0], workspace);
  }
  return absl::InternalError(StrCat("the test '", name, "' is not known"));
}

}  // namespace baton::chat
