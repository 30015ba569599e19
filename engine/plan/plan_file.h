#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/plan/plan_input.h"

namespace baton::plan {

// Both read one YAML document; deploy/examples/plan shows every key. INVALID_ARGUMENT: what is
// wrong, behind `name` and the line: a key that is unknown, missing or given twice, a value of
// another type or beyond its bounds, or text that is not YAML. Nothing has a default that is not
// written beside its field in plan_input.h.
absl::StatusOr<Workload> ParseWorkload(std::string_view text, const std::string& name);
absl::StatusOr<Fleet> ParseFleet(std::string_view text, const std::string& name);

inline constexpr size_t kPlanFileBytesMax = 1 << 20;

}  // namespace baton::plan
