#pragma once

#include <array>
#include <span>
#include <string_view>

namespace baton {

// Instruction sets the CPU kernels are compiled for, each including the ones before it.
//   kBaseline: x86-64 (SSE2); kAvx2: AVX2, FMA, F16C; kAvx512: AVX-512 F, BW, VL, DQ;
//   kAvx512Vnni: and VNNI; kAmx: and BF16, and AMX tiles of bf16 and int8, which the system gave
//   this process leave for.
enum class SimdLevel { kBaseline, kAvx2, kAvx512, kAvx512Vnni, kAmx };

// All of them, the widest last.
inline constexpr std::array kSimdLevels = {SimdLevel::kBaseline, SimdLevel::kAvx2,
                                           SimdLevel::kAvx512, SimdLevel::kAvx512Vnni,
                                           SimdLevel::kAmx};

// The best level this processor and operating system support. The first call asks the system for
// the tile registers, for all threads of the process.
SimdLevel DetectedSimdLevel();
// Why a processor that has tile registers is not at kAmx; empty where there is nothing to say.
std::string_view WithoutAmx();
// All that they support.
std::span<const SimdLevel> SupportedSimdLevels();

std::string_view Name(SimdLevel level);  // "baseline", "avx2", "avx512", "avx512_vnni", "amx"

}  // namespace baton
