#pragma once

#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/request/vector_request.h"

namespace baton {

// What scans know of rows beside their codes (scan_code.h), one number for each row.
struct ScanRows {
  const float* low = nullptr;    // [count]
  const float* step = nullptr;   // [count]
  const float* error = nullptr;  // [count]
  const float* size = nullptr;   // [count]
};

// A key is what a row's distance is by its code, but for rounding; a limit is what that may be
// where the distance of the vector itself is no more than the farthest wanted:
//   key   = key_base + (step * product) * product_factor + low * low_factor, and + size under kL2
//   limit = (radius + error)^2 under kL2, else radius + error * error_factor + size * size_factor
struct ScanLimits {
  float key_base = 0;
  float product_factor = 0;
  float low_factor = 0;
  float radius = 0;
  float error_factor = 0;
  float size_factor = 0;
};

// Writes the places, ascending, of those rows whose key is not above their limit, and their keys;
// returns how many there are. What is no number is not above. Levels may round differently.
//   products, places, keys: [count]
using ScanScreenFn = int64_t (*)(const ScanLimits& limits, const ScanRows& rows,
                                 const int32_t* products, int64_t count, uint32_t* places,
                                 float* keys);

// The function compiled for `level`, which the processor must support. kCosine is as kDot.
ScanScreenFn ScanScreenFor(Metric metric, SimdLevel level = DetectedSimdLevel());

}  // namespace baton
