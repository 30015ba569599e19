#pragma once

#include <cstdint>
#include <random>

namespace baton::load {

enum class ArrivalKind {
  kPoisson,   // exponential gaps: independent clients
  kConstant,  // equal gaps
};

// When requests are meant to be sent, whatever became of the earlier ones (open loop). The same
// seed gives the same times on every machine.
class Arrivals {
 public:
  // rate_per_s is above 0.
  Arrivals(ArrivalKind kind, double rate_per_s, uint64_t seed)
      : kind_(kind), gap_mean_ns_(1e9 / rate_per_s), random_(seed) {}

  // Nanoseconds from the start of the run; never decreases. Poisson: the first is one gap after the
  // start; constant: the first is at 0.
  int64_t NextNs();

 private:
  const ArrivalKind kind_;
  const double gap_mean_ns_;
  std::mt19937_64 random_;
  int64_t count_ = 0;
  double poisson_ns_ = 0;
};

}  // namespace baton::load
