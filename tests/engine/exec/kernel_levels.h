#pragma once

#include <vector>

#include "engine/base/simd_level.h"

namespace baton {

// Every instruction set the kernels were compiled for that this machine can run.
inline std::vector<SimdLevel> LevelsHere() {
  std::vector<SimdLevel> levels;
  for (const SimdLevel level :
       {SimdLevel::kBaseline, SimdLevel::kAvx2, SimdLevel::kAvx512, SimdLevel::kAvx512Vnni}) {
    if (level <= DetectedSimdLevel()) levels.push_back(level);
  }
  return levels;
}

}  // namespace baton
