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

}  // namespace baton
