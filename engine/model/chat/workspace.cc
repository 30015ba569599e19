#include "engine/model/chat/workspace.h"

#include "engine/base/strings.h"

namespace baton::chat {

absl::Status Workspace::Spend(int64_t steps) {
  steps_ += steps;
  if (steps_ <= kStepsMax) return absl::OkStatus();
  return absl::InvalidArgumentError(StrCat("the template takes more than ", kStepsMax, " steps"));
}

absl::StatusOr<Value> Workspace::Text(MarkedText text) {
  RETURN_IF_ERROR(SpendText(text));
  return Value::Text(Keep(std::move(text)));
}

absl::StatusOr<Value> Workspace::List(std::vector<Value> items, bool tuple) {
  RETURN_IF_ERROR(SpendItems(items.size()));
  return Value::OfList(&lists_.emplace_back(chat::List{std::move(items), tuple}));
}

}  // namespace baton::chat
