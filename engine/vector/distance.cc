#include "engine/vector/distance.h"

namespace baton {

#define BATON_DECLARE_DISTANCES(level)                                                         \
  namespace level {                                                                            \
  void InnerProductDistance(const float* query, const float* rows, int64_t row_count,          \
                            int64_t dimension, float* out);                                    \
  void L2Distance(const float* query, const float* rows, int64_t row_count, int64_t dimension, \
                  float* out);                                                                 \
  }
BATON_DECLARE_DISTANCES(baseline)
BATON_DECLARE_DISTANCES(avx2)
BATON_DECLARE_DISTANCES(avx512)
#undef BATON_DECLARE_DISTANCES

DistanceFn DistanceFor(Metric metric, SimdLevel level) {
  const bool l2 = metric == Metric::kL2;
  switch (level) {
    case SimdLevel::kAmx:
    case SimdLevel::kAvx512Vnni:
    case SimdLevel::kAvx512:
      return l2 ? avx512::L2Distance : avx512::InnerProductDistance;
    case SimdLevel::kAvx2:
      return l2 ? avx2::L2Distance : avx2::InnerProductDistance;
    case SimdLevel::kBaseline:
      break;
  }
  return l2 ? baseline::L2Distance : baseline::InnerProductDistance;
}

}  // namespace baton
