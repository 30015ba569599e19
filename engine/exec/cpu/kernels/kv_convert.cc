#include "engine/exec/cpu/kernels/kv_convert.h"

namespace baton {

KvRowConverter KvConverterFor(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
    case SimdLevel::kAvx512:
      return kAvx512KvConverter;
    case SimdLevel::kAvx2:
      return kAvx2KvConverter;
    case SimdLevel::kBaseline:
      break;
  }
  return kBaselineKvConverter;
}

}  // namespace baton
