#include "engine/model/chat/arguments.h"

#include <algorithm>

#include "engine/base/strings.h"
#include "engine/model/chat/operators.h"

namespace baton::chat {

absl::StatusOr<Bound> Bound::Bind(std::string_view what, const Arguments& arguments,
                                  std::initializer_list<std::string_view> parameters,
                                  size_t required) {
  Bound bound;
  bound.what_ = what;
  bound.parameters_ = parameters;
  bound.values_.resize(parameters.size());
  if (arguments.values.size() > parameters.size()) {
    return absl::InvalidArgumentError(StrCat(what, " takes at most ", parameters.size(),
                                             " arguments, but is given ", arguments.values.size()));
  }
  for (size_t i = 0; i < arguments.values.size(); ++i) bound.values_[i] = arguments.values[i];
  for (const auto& [name, value] : arguments.named) {
    const auto found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) {
      return absl::InvalidArgumentError(StrCat(what, " has no parameter '", Escaped(name), "'"));
    }
    auto& slot = bound.values_[static_cast<size_t>(found - parameters.begin())];
    if (slot.has_value()) {
      return absl::InvalidArgumentError(StrCat(what, " is given '", name, "' twice"));
    }
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (bound.has(i)) continue;
    return absl::InvalidArgumentError(
        StrCat(what, " needs its argument '", bound.parameters_[i], "'"));
  }
  return bound;
}

absl::Status Bound::WrongType(size_t i, std::string_view wanted) const {
  return absl::InvalidArgumentError(StrCat(what_, ": '", parameters_[i], "' must be ", wanted,
                                           ", but is of type ", TypeName(*values_[i])));
}

absl::StatusOr<std::optional<int64_t>> Bound::Integer(size_t i) const {
  if (!has(i) || values_[i]->IsNone()) return std::optional<int64_t>();
  if (!values_[i]->IsInteger()) return WrongType(i, "an integer");
  return std::optional(values_[i]->integer());
}

absl::StatusOr<const MarkedText*> Bound::Text(size_t i) const {
  if (!has(i) || values_[i]->IsNone()) return nullptr;
  if (!values_[i]->IsText()) return WrongType(i, "a string");
  return &values_[i]->text();
}

bool Bound::True(size_t i, bool absent) const { return has(i) ? IsTrue(*values_[i]) : absent; }

}  // namespace baton::chat
