#define BATON_SIMD_NAMESPACE simd_avx2
#include "engine/exec/cpu/kernels/kernels-inl.h"

namespace baton {
const CpuKernels kAvx2Kernels = simd_avx2::kTable;
}  // namespace baton
