#include "engine/vector/nibble_screen.h"

namespace baton {

#define BATON_DECLARE_SCREENS(level)                                                              \
  namespace level {                                                                               \
  int64_t L2NibbleScreen(const ScanLimits& limits, const NibbleScreen& screen, uint32_t* places); \
  int64_t ProductNibbleScreen(const ScanLimits& limits, const NibbleScreen& screen,               \
                              uint32_t* places);                                                  \
  }
BATON_DECLARE_SCREENS(baseline)
BATON_DECLARE_SCREENS(avx2)
BATON_DECLARE_SCREENS(avx512_vnni)
#undef BATON_DECLARE_SCREENS

NibbleScreenFn NibbleScreenFor(Metric metric, SimdLevel level) {
  const bool l2 = metric == Metric::kL2;
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
      return l2 ? avx512_vnni::L2NibbleScreen : avx512_vnni::ProductNibbleScreen;
    case SimdLevel::kAvx512:  // without VNNI wider registers gain nothing here
    case SimdLevel::kAvx2:
      return l2 ? avx2::L2NibbleScreen : avx2::ProductNibbleScreen;
    case SimdLevel::kBaseline:
      break;
  }
  return l2 ? baseline::L2NibbleScreen : baseline::ProductNibbleScreen;
}

}  // namespace baton
