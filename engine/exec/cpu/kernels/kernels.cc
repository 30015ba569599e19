#include "engine/exec/cpu/kernels/kernels.h"

namespace baton {

const CpuKernels& KernelsFor(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
      DetectedSimdLevel();  // asks the system for the tile registers
      return kAmxKernels;
    case SimdLevel::kAvx512Vnni:
      return kAvx512VnniKernels;
    case SimdLevel::kAvx512:
      return kAvx512Kernels;
    case SimdLevel::kAvx2:
      return kAvx2Kernels;
    case SimdLevel::kBaseline:
      break;
  }
  return kBaselineKernels;
}

}  // namespace baton
