// What a stranger may hand `batonctl plan`: both parsers take it or refuse it, and what is taken
// can be planned.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "engine/base/check.h"
#include "engine/plan/plan_file.h"
#include "engine/plan/planner.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace baton::plan;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  // Two files in one input.
  const size_t cut = text.find("\n====\n");
  const auto workload = ParseWorkload(text.substr(0, cut), "workload");
  const auto fleet =
      ParseFleet(cut == std::string_view::npos ? text : text.substr(cut + 6), "devices");
  if (!workload.ok() || !fleet.ok() || fleet->devices.size() > 4) return 0;
  const auto plan = BestPlan(*workload, *fleet, std::vector<bool>(fleet->devices.size(), true));
  if (!plan.ok()) return 0;
  BATON_CHECK(!std::isnan(plan->cost_per_hour));
  for (const RequestPlan& request : plan->requests) BATON_CHECK(!std::isnan(request.latency_ms));
  return 0;
}
