#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/model/chat/syntax.h"
#include "engine/model/chat/workspace.h"

// What operators do with values, as Python and Jinja have it. Errors are INVALID_ARGUMENT and say
// what went wrong, not where: the evaluator knows.
namespace baton::chat {

// "'x' is undefined", of an undefined value.
absl::Status UndefinedError(const Value& value);
// The value that an error is about, by its type: "a list".
absl::Status TypeError(std::string_view wanted, const Value& value);

bool IsTrue(const Value& value);
absl::StatusOr<bool> Equal(const Value& a, const Value& b, Workspace& workspace);
// Less than, of two numbers, two texts or two lists.
absl::StatusOr<bool> Less(const Value& a, const Value& b, Workspace& workspace);
// item in container
absl::StatusOr<bool> Contains(const Value& container, const Value& item, Workspace& workspace);
absl::StatusOr<bool> Compare(Operator op, const Value& a, const Value& b, Workspace& workspace);

// + - * / // % **
absl::StatusOr<Value> Calculate(Operator op, const Value& a, const Value& b, Workspace& workspace);
absl::StatusOr<Value> Negate(const Value& value);

// object.name and object[key]; undefined where there is none. An undefined object is an error that
// names it.
absl::StatusOr<Value> GetAttribute(const Value& object, std::string_view name,
                                   Workspace& workspace);
absl::StatusOr<Value> GetItem(const Value& object, const Value& key, Workspace& workspace);
struct SliceBounds {
  std::optional<int64_t> begin = {};
  std::optional<int64_t> end = {};
  int64_t step = 1;
};
absl::StatusOr<Value> GetSlice(const Value& object, const SliceBounds& bounds,
                               Workspace& workspace);

// What a for statement goes over: items, keys of an object, characters of a text; none of what is
// undefined.
absl::StatusOr<std::vector<Value>> Items(const Value& value, Workspace& workspace);
absl::StatusOr<int64_t> Length(const Value& value, Workspace& workspace);

}  // namespace baton::chat
