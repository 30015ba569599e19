#include "engine/plan/plan_input.h"

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

std::string_view Name(Evidence evidence) {
  switch (evidence) {
    case Evidence::kMeasured:
      return "measured";
    case Evidence::kStated:
      return "stated";
    case Evidence::kModelled:
      break;
  }
  return "modelled";
}

double ServiceCurve::RunMs(double items) const {
  const double launches = std::floor(items / items_max());
  const double rest = items - launches * items_max();
  const double whole_ms = launches * points.back().run_ms;
  return rest > 0 ? whole_ms + WithinCurve(points, rest) : whole_ms;
}

const ServiceCurve* Device::CurveOf(WorkClass work_class) const {
  for (const ServiceCurve& curve : curves) {
    if (curve.work_class == work_class) return &curve;
  }
  return nullptr;
}

}  // namespace baton::plan
