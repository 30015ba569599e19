#pragma once

#include "absl/status/statusor.h"
#include "engine/model/chat/arguments.h"
#include "engine/model/chat/workspace.h"

// The filters of lists and objects, each as Jinja has it: value | filter(arguments).
namespace baton::chat {

absl::StatusOr<Value> DictItems(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> DictSort(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> First(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> JoinList(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Last(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Map(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Max(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Min(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Reject(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> RejectAttribute(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Reverse(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Select(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> SelectAttribute(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Sort(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Sum(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> ToList(const Value&, const Arguments&, Workspace&);
absl::StatusOr<Value> Unique(const Value&, const Arguments&, Workspace&);

}  // namespace baton::chat
