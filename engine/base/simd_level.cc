#include "engine/base/simd_level.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "engine/base/strings.h"

namespace baton {
namespace {

struct TileRegisters {
  bool usable = false;
  std::string why_not;  // empty: usable, or the processor has none
};

// Linux saves a thread's tile registers only for processes that asked for them (arch_prctl(2)).
const TileRegisters& Tiles() {
  static const TileRegisters tiles = [] {
    constexpr unsigned kBf16 = 1U << 22;  // CPUID leaf 7, EDX
    constexpr unsigned kTile = 1U << 24;
    constexpr unsigned kInt8 = 1U << 25;
    constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
    constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
    unsigned eax = 0;
    unsigned ebx = 0;
    unsigned ecx = 0;
    unsigned edx = 0;
    TileRegisters result;
    if (__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) == 0) return result;
    if ((edx & kTile) == 0 || (edx & kBf16) == 0 || (edx & kInt8) == 0) return result;
    result.usable = syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
    if (!result.usable) {
      result.why_not = StrCat("the system refuses AMX: ", std::strerror(errno));
    }
    return result;
  }();
  return tiles;
}

}  // namespace

std::string_view WithoutAmx() { return Tiles().why_not; }

SimdLevel DetectedSimdLevel() {
  static const SimdLevel level = [] {
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                      __builtin_cpu_supports("f16c");
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (!avx2) return SimdLevel::kBaseline;
    if (!avx512) return SimdLevel::kAvx2;
    if (!__builtin_cpu_supports("avx512vnni")) return SimdLevel::kAvx512;
    if (!__builtin_cpu_supports("avx512bf16")) return SimdLevel::kAvx512Vnni;
    return Tiles().usable ? SimdLevel::kAmx : SimdLevel::kAvx512Vnni;
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
    case SimdLevel::kAmx:
      return "amx";
  }
  return "unknown";
}

}  // namespace baton
