#define BATON_SIMD_NAMESPACE simd_avx512
#include "engine/exec/cpu/kernels/kernels-inl.h"

namespace baton {
const CpuKernels kAvx512Kernels = simd_avx512::kTable;
}  // namespace baton
