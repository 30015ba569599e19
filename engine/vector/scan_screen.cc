#include "engine/vector/scan_screen.h"

namespace baton {

#define BATON_DECLARE_SCREENS(level)                                                             \
  namespace level {                                                                              \
  int64_t L2Screen(const ScanLimits& limits, const ScanRows& rows, const int32_t* products,      \
                   int64_t count, uint32_t* places, float* keys);                                \
  int64_t ProductScreen(const ScanLimits& limits, const ScanRows& rows, const int32_t* products, \
                        int64_t count, uint32_t* places, float* keys);                           \
  }
BATON_DECLARE_SCREENS(baseline)
BATON_DECLARE_SCREENS(avx2)
BATON_DECLARE_SCREENS(avx512)
#undef BATON_DECLARE_SCREENS

ScanScreenFn ScanScreenFor(Metric metric, SimdLevel level) {
  const bool l2 = metric == Metric::kL2;
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
    case SimdLevel::kAvx512:
      return l2 ? avx512::L2Screen : avx512::ProductScreen;
    case SimdLevel::kAvx2:
      return l2 ? avx2::L2Screen : avx2::ProductScreen;
    case SimdLevel::kBaseline:
      break;
  }
  return l2 ? baseline::L2Screen : baseline::ProductScreen;
}

}  // namespace baton
