#pragma once

#include <vector>

#include "engine/request/work.h"

namespace baton::plan {

// A launch of so many items takes so long. Of decode: a step of so many sequences.
struct CurvePoint {
  double items = 1;
  double run_ms = 0;
};

// How long a device takes for one class of work.
struct ServiceCurve {
  WorkClass work_class = WorkClass::kPrefill;
  std::vector<CurvePoint> points;  // items ascending; not empty
  double run_scv = 0;              // squared coefficient of variation of a launch's time

  double items_max() const { return points.back().items; }
  // Straight lines between the points; below the first one as much as there. More items than
  // items_max() are several launches, one after another.
  double RunMs(double items) const;
};

}  // namespace baton::plan
