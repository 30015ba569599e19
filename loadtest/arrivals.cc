#include "loadtest/arrivals.h"

#include <cmath>
#include <numbers>

namespace baton::load {

// Not the standard library's distributions: their sequences differ from one library to another.
double Arrivals::Uniform() { return static_cast<double>(random_() >> 11) * 0x1.0p-53; }

double Arrivals::Exponential() { return -std::log1p(-Uniform()); }

// Box and Muller 1958.
double Arrivals::Normal() {
  const double radius = std::sqrt(2 * Exponential());
  return radius * std::cos(2 * std::numbers::pi * Uniform());
}

// Marsaglia and Tsang 2000; a shape below 1 through one above it.
double Arrivals::Gamma(double shape) {
  if (shape < 1) {
    const double boost = std::exp(-Exponential() / shape);  // uniform^(1 / shape)
    return Gamma(shape + 1) * boost;
  }
  const double d = shape - 1.0 / 3;
  const double c = 1 / std::sqrt(9 * d);
  while (true) {
    const double x = Normal();
    const double root = 1 + c * x;
    if (root <= 0) continue;
    const double v = root * root * root;
    if (-Exponential() < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
  }
}

int64_t Arrivals::NextNs() {
  const double rate = options_.rate_per_s;
  switch (options_.process) {
    case Process::kConstant:
      // Multiplied, not summed: a rounding error would grow with the run.
      at_s_ = static_cast<double>(count_++) / rate;
      break;
    case Process::kGamma:
      at_s_ += Gamma(options_.burstiness) / (options_.burstiness * rate);
      break;
    case Process::kRamp: {
      // Poisson by its cumulative rate: rate t + slope t^2 / 2 arrivals are due by t.
      arrived_ += Exponential();
      const double slope = (options_.rate_end_per_s - rate) / duration_s_;
      const double square = rate * rate + 2 * slope * arrived_;
      if (square < 0) return kNever;  // it falls, and no more are due
      at_s_ = 2 * arrived_ / (rate + std::sqrt(square));
      break;
    }
    default:
      at_s_ += Exponential() / rate;
  }
  return at_s_ < 1e9 ? static_cast<int64_t>(at_s_ * 1e9) : kNever;
}

}  // namespace baton::load
