#include "engine/model/chat/functions.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/operators.h"
#include "engine/model/chat/value_text.h"

namespace baton::chat {
namespace {

struct Entry {
  std::string_view name;
  Function function;
};
constexpr Entry kFunctions[] = {
    {"raise_exception", Function::kRaiseException},
    {"strftime_now", Function::kStrftimeNow},
    {"range", Function::kRange},
    {"namespace", Function::kNamespace},
    {"dict", Function::kDict},
};

absl::StatusOr<Value> RaiseException(const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("raise_exception", arguments, {"message"}, 1));
  ASSIGN_OR_RETURN(const MarkedText message, ToText(bound[0], workspace));
  return absl::InvalidArgumentError(StrCat("the template refuses: ", Escaped(message.bytes())));
}

// The server's local time, as transformers has it.
absl::StatusOr<Value> StrftimeNow(const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound, Bound::Bind("strftime_now", arguments, {"format"}, 1));
  ASSIGN_OR_RETURN(const MarkedText* const format, bound.Text(0));
  if (format == nullptr || format->empty()) return workspace.Text("");
  const auto now = static_cast<std::time_t>(workspace.now_s());
  std::tm local{};
  if (localtime_r(&now, &local) == nullptr) {
    return absl::InternalError(StrCat("strftime_now: there is no date for second ", now));
  }
  char text[256];
  const size_t bytes = std::strftime(text, sizeof(text), format->bytes().c_str(), &local);
  if (bytes == 0) {
    return absl::InvalidArgumentError(
        StrCat("strftime_now: the date must be 1 to ", sizeof(text) - 1, " bytes long"));
  }
  return workspace.Text(MarkedText({text, bytes}, format->OriginOf(0)));
}

absl::StatusOr<Value> Range(const Arguments& arguments, Workspace& workspace) {
  ASSIGN_OR_RETURN(const Bound bound,
                   Bound::Bind("range", arguments, {"start", "stop", "step"}, 1));
  ASSIGN_OR_RETURN(const auto first, bound.Integer(0));
  ASSIGN_OR_RETURN(const auto second, bound.Integer(1));
  ASSIGN_OR_RETURN(const auto third, bound.Integer(2));
  if (!first.has_value()) return TypeError("an integer for range", bound[0]);
  const int64_t begin = second.has_value() ? *first : 0;
  const int64_t end = second.value_or(*first);
  const int64_t step = third.value_or(1);
  if (step == 0) return absl::InvalidArgumentError("range: 'step' must not be 0");
  std::vector<Value> items;
  for (int64_t at = begin; step > 0 ? at < end : at > end;) {
    if (std::ssize(items) == kRangeItemsMax) {
      return absl::InvalidArgumentError(StrCat("range: more than ", kRangeItemsMax, " items"));
    }
    items.push_back(Value::Int(at));
    if (__builtin_add_overflow(at, step, &at)) break;
  }
  return workspace.List(std::move(items));
}

// namespace(...) and dict(...): of an object, then of named arguments.
absl::StatusOr<Value> MakeDict(std::string_view name, const Arguments& arguments,
                               Workspace& workspace) {
  if (arguments.values.size() > 1) {
    return absl::InvalidArgumentError(StrCat(name, " takes one argument without a name at most"));
  }
  Dict* const dict = workspace.NewDict();
  if (!arguments.values.empty()) {
    const Value& from = arguments.values[0];
    if (!from.Is(Value::Kind::kDict)) return TypeError(StrCat("an object for ", name), from);
    RETURN_IF_ERROR(workspace.SpendItems(from.dict().entries().size()));
    *dict = from.dict();
  }
  for (const auto& [key, value] : arguments.named) {
    ASSIGN_OR_RETURN(const Value text, workspace.Text(key));
    dict->Set(&text.text(), value);
  }
  return Value::OfDict(dict);
}

}  // namespace

std::optional<Function> FindFunction(std::string_view name) {
  const auto found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                  [name](const Entry& entry) { return entry.name == name; });
  return found == std::end(kFunctions) ? std::nullopt : std::optional(found->function);
}

absl::StatusOr<Value> CallFunction(Function function, const Arguments& arguments,
                                   Workspace& workspace) {
  RETURN_IF_ERROR(workspace.Spend(kValueSteps));
  switch (function) {
    case Function::kRaiseException:
      return RaiseException(arguments, workspace);
    case Function::kStrftimeNow:
      return StrftimeNow(arguments, workspace);
    case Function::kRange:
      return Range(arguments, workspace);
    case Function::kDict:
      return MakeDict("dict", arguments, workspace);
    case Function::kNamespace: {
      ASSIGN_OR_RETURN(const Value made, MakeDict("namespace", arguments, workspace));
      return Value::OfNamespace(&made.dict());
    }
  }
  return absl::InternalError("a function that is not known");
}

}  // namespace baton::chat
