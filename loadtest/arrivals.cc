#include "loadtest/arrivals.h"

#include <cmath>

namespace baton::load {

int64_t Arrivals::NextNs() {
  if (kind_ == ArrivalKind::kConstant) {
    // Multiplied, not summed: a rounding error would grow with the run.
    return static_cast<int64_t>(static_cast<double>(count_++) * gap_mean_ns_);
  }
  // Not std::exponential_distribution: its sequence differs from one standard library to another.
  const double uniform = static_cast<double>(random_() >> 11) * 0x1.0p-53;  // [0, 1)
  poisson_ns_ += -std::log1p(-uniform) * gap_mean_ns_;
  return static_cast<int64_t>(poisson_ns_);
}

}  // namespace baton::load
