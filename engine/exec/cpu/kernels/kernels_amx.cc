#define BATON_SIMD_NAMESPACE simd_amx
#include "engine/exec/cpu/kernels/kernels-inl.h"

namespace baton {
const CpuKernels kAmxKernels = simd_amx::kTable;
}  // namespace baton
