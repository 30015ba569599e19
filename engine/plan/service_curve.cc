#include "engine/plan/service_curve.h"

#include <algorithm>
#include <cmath>

namespace baton::plan {
namespace {

double WithinCurve(const std::vector<CurvePoint>& points, double items) {
  const auto above = std::lower_bound(points.begin(), points.end(), items,
                                      [](const CurvePoint& p, double n) { return p.items < n; });
  if (above == points.begin()) return points.front().run_ms;
  if (above == points.end()) return points.back().run_ms;
  const CurvePoint& low = *(above - 1);
  return low.run_ms +
         (above->run_ms - low.run_ms) * (items - low.items) / (above->items - low.items);
}

}  // namespace

double ServiceCurve::RunMs(double items) const {
  const double launches = std::floor(items / items_max());
  const double rest = items - launches * items_max();
  const double whole_ms = launches * points.back().run_ms;
  return rest > 0 ? whole_ms + WithinCurve(points, rest) : whole_ms;
}

}  // namespace baton::plan
