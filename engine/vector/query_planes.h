#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "engine/vector/query_code.h"

namespace baton {

// The memory of a QueryCode, kept for the next query.
class QueryPlanes {
 public:
  // Zeros, [stride], to be filled: at most QueryValueMax(stride) in magnitude.
  int16_t* Clear(int64_t stride);
  // Once they are filled.
  QueryCode Split();
  QueryCode code() const {
    return {.values = values_.data(), .high = high_.data(), .low = low_.data()};
  }

  // The nearest whole number; halves go away from zero.
  static int16_t Whole(float value) {
    return static_cast<int16_t>(static_cast<int32_t>(value + std::copysign(0.5f, value)));
  }

 private:
  std::vector<int16_t> values_;
  std::vector<int8_t> high_;
  std::vector<int8_t> low_;
};

}  // namespace baton
