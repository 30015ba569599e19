#pragma once

#include <cstdint>

namespace baton {

// A query in whole numbers, as the instruction sets take it: at once, and in two planes of bytes.
//   values[j] = 128 * high[j] + low[j], low[j] from -64 to 63
struct QueryCode {
  const int16_t* values = nullptr;  // [stride]
  const int8_t* high = nullptr;     // [stride]
  const int8_t* low = nullptr;      // [stride]
};

}  // namespace baton
