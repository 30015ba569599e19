#include "engine/vector/pq_scan.h"

namespace baton {

#define BATON_DECLARE_SCAN(level)  \
  namespace level {                \
  void ScanPq(const PqScan& scan); \
  }
BATON_DECLARE_SCAN(baseline)
BATON_DECLARE_SCAN(avx2)
BATON_DECLARE_SCAN(avx512)
#undef BATON_DECLARE_SCAN

PqScanFn PqScanFor(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:  // sums up neighboring bytes, which here are of other rows
    case SimdLevel::kAvx512:
      return avx512::ScanPq;
    case SimdLevel::kAvx2:
      return avx2::ScanPq;
    case SimdLevel::kBaseline:
      break;
  }
  return baseline::ScanPq;
}

#define BATON_DECLARE_SCAN(level)   \
  namespace level {                 \
  void ScanPq8(const PqScan& scan); \
  }
BATON_DECLARE_SCAN(baseline)
BATON_DECLARE_SCAN(avx2)
BATON_DECLARE_SCAN(avx512_vbmi)
#undef BATON_DECLARE_SCAN

PqScanFn Pq8ScanFor(SimdLevel level) {
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
      // Processors have it that are newer than their VNNI.
      if (__builtin_cpu_supports("avx512vbmi")) return avx512_vbmi::ScanPq8;
      [[fallthrough]];
    case SimdLevel::kAvx512:
    case SimdLevel::kAvx2:
      return avx2::ScanPq8;
    case SimdLevel::kBaseline:
      break;
  }
  return baseline::ScanPq8;
}

}  // namespace baton
