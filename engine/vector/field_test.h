#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "engine/request/filter.h"
#include "engine/vector/field_values.h"

namespace baton {

// A condition as an index of some kind answers it.
struct FieldTest {
  enum class Kind : uint8_t {
    kAnyOf,     // a value is one of `values`
    kNoneOf,    // a value is none of them
    kAllOf,     // all of them are among the values
    kInterval,  // a value is from low to high
    kCount,     // of values is from low to high
  };
  Kind kind = Kind::kAnyOf;
  ValueList values = {};  // sorted, distinct
  // Both inclusive; of the type that the values have. Empty where low > high.
  int64_t integer_low = 0;
  int64_t integer_high = 0;
  double number_low = 0;
  double number_high = 0;

  bool Matches(const FieldValues& row) const;
};

// INVALID_ARGUMENT where the index is of a kind that does not answer the condition. Not for HasId.
// A Match of no values, which clients may not send, is answered by every kind.
absl::StatusOr<FieldTest> MakeFieldTest(const Condition& condition, PayloadIndexKind kind);

const char* NameOf(PayloadIndexKind kind);

}  // namespace baton
