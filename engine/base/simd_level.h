#pragma once

#include <array>
#include <span>
#include <string_view>

namespace baton {

// Instruction sets the CPU kernels are compiled for, each including the ones before it.
//   kBaseline: x86-64 (SSE2); kAvx2: AVX2, FMA, F16C; kAvx512: AVX-512 F, BW, VL, DQ;
//   kAvx512Vnni: and VNNI.
enum class SimdLevel { kBaseline, kAvx2, kAvx512, kAvx512Vnni };

// All of them, the widest last.
inline constexpr std::array kSimdLevels = {SimdLevel::kBaseline, SimdLevel::kAvx2,
                                           SimdLevel::kAvx512, SimdLevel::kAvx512Vnni};

// The best level this processor and operating system support.
SimdLevel DetectedSimdLevel();
// All that they support.
std::span<const SimdLevel> SupportedSimdLevels();

std::string_view Name(SimdLevel level);  // "baseline", "avx2", "avx512", "avx512_vnni"

}  // namespace baton
