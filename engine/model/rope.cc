#include "engine/model/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace baton {
namespace {

// The pair, not a whole number, that turns `turns` times within the original context.
double PairOfTurns(const RopeParameters& rope, int32_t dims, double turns) {
  const double pair_of_base = dims / (2 * std::log(double{rope.base}));
  return pair_of_base * std::log(rope.original_context_tokens / (turns * 2 * std::numbers::pi));
}

}  // namespace

std::vector<double> RopeFrequencies(const RopeParameters& rope, int32_t dims) {
  double first = 0;
  double last = 0;
  if (rope.yarn_mix > 0) {
    first = std::max(0.0, std::floor(PairOfTurns(rope, dims, rope.yarn_beta_fast)));
    last = std::min(dims - 1.0, std::ceil(PairOfTurns(rope, dims, rope.yarn_beta_slow)));
  }
  std::vector<double> frequencies(static_cast<size_t>(dims / 2));
  for (int32_t i = 0; i < dims / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / dims;
    const double factor = rope.factors != nullptr ? rope.factors[i] : 1.0;
    const double unscaled = std::pow(double{rope.base}, exponent);
    frequencies[i] = unscaled * rope.scale / factor;
    if (rope.yarn_mix > 0) {
      // The published width of an empty blend.
      const double width = std::max(0.001, last - first);
      const double kept = rope.yarn_mix * (1 - std::clamp((i - first) / width, 0.0, 1.0));
      frequencies[i] = frequencies[i] * (1 - kept) + unscaled / factor * kept;
    }
  }
  return frequencies;
}

}  // namespace baton
