#pragma once

#include <cstdint>
#include <random>

#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// The size of a batch of one class, as CurveOptions counts it.
struct CurveInput {
  double items = 0;
  double context = 0;  // of an item, on average
};

// Microseconds of a batch, without noise; 0 or more. Beyond the last point of a table its last
// slope goes on, before the first one its value holds.
double CurveUs(const CurveOptions& curve, const CurveInput& input);

// Multiplies by lognormal noise of median 1. The same seed gives the same factors. Not thread safe.
class LatencyNoise {
 public:
  LatencyNoise(double sigma, uint64_t seed) : sigma_(sigma), random_(seed) {}
  double NextFactor();

 private:
  const double sigma_;
  std::mt19937_64 random_;
};

// A language-model batch's prompts and decodes, each as a batch of its own: what it takes is the
// sum.
CurveInput PrefillInput(const LlmBatch& batch);
CurveInput DecodeInput(const LlmBatch& batch);

}  // namespace baton
