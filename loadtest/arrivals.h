#pragma once

#include <cstdint>
#include <limits>
#include <random>

#include "loadtest/scenario.h"

namespace baton::load {

// When requests of an open loop are meant to be sent, whatever became of the earlier ones. The same
// seed gives the same times on every machine.
class Arrivals {
 public:
  static constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

  // The process is kConstant, kPoisson, kGamma or kRamp; a ramp takes `duration_s`.
  Arrivals(const ArrivalOptions& options, double duration_s, uint64_t seed)
      : options_(options), duration_s_(duration_s), random_(seed) {}

  // Nanoseconds from the start of the run; never decreases. Constant: the first is at 0; else it is
  // one gap after the start. kNever: a ramp that is over.
  int64_t NextNs();

 private:
  double Uniform();      // [0, 1)
  double Exponential();  // mean 1
  double Normal();
  double Gamma(double shape);  // scale 1

  const ArrivalOptions options_;
  const double duration_s_;
  std::mt19937_64 random_;
  int64_t count_ = 0;
  double at_s_ = 0;
  double arrived_ = 0;  // ramp: arrivals of the unit process
};

}  // namespace baton::load
