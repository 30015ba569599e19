#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// The devices of `batond --simulate FILE`: YAML, as the examples in deploy/examples/simulate/ and
// engine/exec/simulated/README.md have it. INVALID_ARGUMENT names the file, the line and the key:
// an unknown or repeated key, a value of the wrong kind or beyond its limits, entries that
// contradict each other.
absl::StatusOr<SimulationOptions> ReadSimulation(const std::string& path);

// The same of a text; errors call it `name`.
absl::StatusOr<SimulationOptions> ParseSimulation(std::string_view text, const std::string& name);

}  // namespace baton
