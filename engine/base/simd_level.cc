#include "engine/base/simd_level.h"

#include <cstddef>

namespace baton {

SimdLevel DetectedSimdLevel() {
  static const SimdLevel level = [] {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (!avx2) return SimdLevel::kBaseline;
    if (!avx512) return SimdLevel::kAvx2;
    return __builtin_cpu_supports("avx512vnni") ? SimdLevel::kAvx512Vnni : SimdLevel::kAvx512;
  }();
  return level;
}

std::span<const SimdLevel> SupportedSimdLevels() {
  return std::span(kSimdLevels).first(static_cast<size_t>(DetectedSimdLevel()) + 1);
}

std::string_view Name(SimdLevel level) {
  switch (level) {
    case SimdLevel::kBaseline:
      return "baseline";
    case SimdLevel::kAvx2:
      return "avx2";
    case SimdLevel::kAvx512:
      return "avx512";
    case SimdLevel::kAvx512Vnni:
      return "avx512_vnni";
  }
  return "unknown";
}

}  // namespace baton
