#define BATON_SIMD_NAMESPACE simd_baseline
#include "engine/exec/cpu/kernels/kv_convert-inl.h"
#include "engine/exec/cpu/kernels/kv_convert.h"

namespace baton {
const KvRowConverter kBaselineKvConverter = &simd_baseline::ConvertRows;
}  // namespace baton
