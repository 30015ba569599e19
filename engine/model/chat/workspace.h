#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/status_macros.h"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/value.h"

namespace baton::chat {

// The memory and the budget of one rendering: owns every value that it makes, until the end. One
// thread.
class Workspace {
 public:
  // `now_s`: seconds since 1970, what strftime_now shows.
  explicit Workspace(int64_t now_s) : now_s_(now_s) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  int64_t now_s() const { return now_s_; }

  // A step is a piece of the template that is run. Every value made costs some, too: kValueSteps,
  // and what limits.h says of its size. INVALID_ARGUMENT beyond kStepsMax. What makes much out of
  // little pays before it does so.
  absl::Status Spend(int64_t steps);
  absl::Status SpendText(size_t bytes) {
    return Spend(static_cast<int64_t>(bytes) / kTextBytesPerStep + kValueSteps);
  }
  // Its marks take memory, too: a step each.
  absl::Status SpendText(const MarkedText& text) {
    RETURN_IF_ERROR(Spend(static_cast<int64_t>(text.from_request().size())));
    return SpendText(text.size());
  }
  absl::Status SpendItems(size_t items) {
    return Spend(static_cast<int64_t>(items) * kListItemSteps + kValueSteps);
  }

  // Steps that the next Spend looks at.
  void Owe(int64_t steps) { steps_ += steps; }

  // Each pays for what it makes.
  absl::StatusOr<Value> Text(MarkedText text);
  absl::StatusOr<Value> Text(std::string_view text) {
    return Text(MarkedText(text, Origin::kTemplate));
  }
  absl::StatusOr<Value> List(std::vector<Value> items, bool tuple = false);

  // Made where the caller has paid, or as part of one step.
  const MarkedText* Keep(MarkedText text) { return &texts_.emplace_back(std::move(text)); }
  Dict* NewDict() { return &dicts_.emplace_back(); }
  Loop* NewLoop() { return &loops_.emplace_back(); }
  Scope* NewScope(Scope* parent) { return &scopes_.emplace_back(Scope{.parent = parent}); }
  Value NewMacro(Macro macro) { return Value::OfMacro(&macros_.emplace_back(macro)); }
  Value NewMethod(Method method) { return Value::OfMethod(&methods_.emplace_back(method)); }
  // "'x' is undefined"
  Value Undefined(std::string_view reason) {
    Owe(kValueSteps);
    return Value::Undefined(Keep(MarkedText(reason, Origin::kTemplate)));
  }

 private:
  const int64_t now_s_;
  int64_t steps_ = 0;
  std::deque<MarkedText> texts_;
  std::deque<chat::List> lists_;
  std::deque<Dict> dicts_;
  std::deque<Loop> loops_;
  std::deque<Scope> scopes_;
  std::deque<Macro> macros_;
  std::deque<Method> methods_;
};

}  // namespace baton::chat
