#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/chat/value.h"

namespace baton::chat {

// What a call, filter or test is given, by place or by name.
struct Arguments {
  std::vector<Value> values;
  std::vector<std::pair<std::string_view, Value>> named;
};

// Arguments sorted by parameter.
class Bound {
 public:
  // INVALID_ARGUMENT: too many, unknown, twice, or one of the first `required` is missing. `what`
  // names the callee in messages.
  static absl::StatusOr<Bound> Bind(std::string_view what, const Arguments& arguments,
                                    std::initializer_list<std::string_view> parameters,
                                    size_t required = 0);

  bool has(size_t i) const { return values_[i].has_value(); }
  // Only where it was given.
  const Value& operator[](size_t i) const { return *values_[i]; }
  // Where it was given and is not none: of the right type, or INVALID_ARGUMENT.
  absl::StatusOr<std::optional<int64_t>> Integer(size_t i) const;
  absl::StatusOr<const MarkedText*> Text(size_t i) const;  // null: not given, or none
  bool True(size_t i, bool absent) const;

 private:
  absl::Status WrongType(size_t i, std::string_view wanted) const;

  std::string_view what_;
  std::vector<std::string_view> parameters_;
  std::vector<std::optional<Value>> values_;
};

}  // namespace baton::chat
