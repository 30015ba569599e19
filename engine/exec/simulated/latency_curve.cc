#include "engine/exec/simulated/latency_curve.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace baton {
namespace {

double Interpolate(const std::vector<CurvePoint>& points, double x) {
  if (points.empty()) return 0;
  if (x <= points.front().x || points.size() == 1) return points.front().us;
  size_t right = 1;
  while (right + 1 < points.size() && points[right].x < x) ++right;
  const CurvePoint& a = points[right - 1];
  const CurvePoint& b = points[right];
  return a.us + (b.us - a.us) * (x - a.x) / (b.x - a.x);
}

// In (0, 1], so that its logarithm is finite.
double Uniform(std::mt19937_64& random) {
  return (static_cast<double>(random() >> 11) + 1) * 0x1.0p-53;
}

CurveInput InputOf(const LlmBatch& batch, WorkClass work_class) {
  CurveInput input;
  double positions = 0;
  for (const LlmItem& item : batch.items) {
    if (item.work_class != work_class) continue;
    const double tokens =
        static_cast<double>(item.tokens.size()) + (work_class == WorkClass::kDecode ? 1 : 0);
    input.items += tokens;
    positions += tokens * (item.position + (tokens - 1) / 2);
  }
  if (input.items > 0) input.context = positions / input.items;
  return input;
}

}  // namespace

double CurveUs(const CurveOptions& curve, const CurveInput& input) {
  const double us = curve.fixed_us + curve.per_item_us * input.items +
                    curve.per_context_us * input.items * input.context +
                    Interpolate(curve.points, input.items) +
                    Interpolate(curve.context_points, input.context);
  return std::max(0.0, us);
}

double LatencyNoise::NextFactor() {
  if (sigma_ == 0) return 1;
  // Box and Muller's: the same on every standard library, which std::normal_distribution is not.
  const double radius = std::sqrt(-2 * std::log(Uniform(random_)));
  return std::exp(sigma_ * radius * std::cos(2 * std::numbers::pi * Uniform(random_)));
}

CurveInput PrefillInput(const LlmBatch& batch) { return InputOf(batch, WorkClass::kPrefill); }
CurveInput DecodeInput(const LlmBatch& batch) { return InputOf(batch, WorkClass::kDecode); }

}  // namespace baton
