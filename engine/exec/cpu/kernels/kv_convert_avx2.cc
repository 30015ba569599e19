#define BATON_SIMD_NAMESPACE simd_avx2
#include "engine/exec/cpu/kernels/kv_convert-inl.h"
#include "engine/exec/cpu/kernels/kv_convert.h"

namespace baton {
const KvRowConverter kAvx2KvConverter = &simd_avx2::ConvertRows;
}  // namespace baton
