#pragma once

#include "engine/base/simd_level.h"
#include "engine/kv/kv_rows.h"

namespace baton {

// KV rows from one type to another, one source (kv_convert-inl.h) compiled once per instruction
// set. `level` must be one that this machine has.
KvRowConverter KvConverterFor(SimdLevel level);

// One per compilation.
extern const KvRowConverter kBaselineKvConverter;
extern const KvRowConverter kAvx2KvConverter;
extern const KvRowConverter kAvx512KvConverter;

}  // namespace baton
