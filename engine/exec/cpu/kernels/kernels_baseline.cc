#define BATON_SIMD_NAMESPACE simd_baseline
#include "engine/exec/cpu/kernels/kernels-inl.h"

namespace baton {
const CpuKernels kBaselineKernels = simd_baseline::kTable;
}  // namespace baton
