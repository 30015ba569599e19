#pragma once

#include <string_view>

namespace baton {

// Instruction sets the CPU kernels are compiled for, each including the ones before it.
//   kBaseline: x86-64 (SSE2); kAvx2: AVX2, FMA, F16C; kAvx512: AVX-512 F, BW, VL, DQ;
//   kAvx512Vnni: and VNNI.
enum class SimdLevel { kBaseline, kAvx2, kAvx512, kAvx512Vnni };

// The best level this processor and operating system support.
SimdLevel DetectedSimdLevel();

std::string_view Name(SimdLevel level);  // "baseline", "avx2" ...

}  // namespace baton
