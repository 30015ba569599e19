#define BATON_SIMD_NAMESPACE simd_avx512_vnni
#include "engine/exec/cpu/kernels/kernels-inl.h"

namespace baton {
const CpuKernels kAvx512VnniKernels = simd_avx512_vnni::kTable;
}  // namespace baton
