#include "engine/schedule/length_forecast.h"

#include <algorithm>
#include <cmath>

namespace baton {

int32_t LengthForecast::Expect(int32_t generated, int32_t max_tokens) const {
  const int32_t left = std::max(0, max_tokens - generated);
  const auto expected = static_cast<int32_t>(std::ceil(share_ * left));
  return max_tokens - left + std::clamp(expected, std::min(1, left), left);
}

void LengthForecast::ObserveEnd(int32_t generated, int32_t max_tokens) {
  const double share = std::min(1.0, static_cast<double>(generated) / max_tokens);
  share_ += (share - share_) * weight_;
}

}  // namespace baton
