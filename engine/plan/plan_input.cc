#include "engine/plan/plan_input.h"

namespace baton::plan {
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

const ServiceCurve* Device::CurveOf(WorkClass work_class) const {
  for (const ServiceCurve& curve : curves) {
    if (curve.work_class == work_class) return &curve;
  }
  return nullptr;
}

}  // namespace baton::plan
