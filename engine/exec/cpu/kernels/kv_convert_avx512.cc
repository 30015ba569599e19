#define BATON_SIMD_NAMESPACE simd_avx512
#include "engine/exec/cpu/kernels/kv_convert-inl.h"
#include "engine/exec/cpu/kernels/kv_convert.h"

namespace baton {
const KvRowConverter kAvx512KvConverter = &simd_avx512::ConvertRows;
}  // namespace baton
