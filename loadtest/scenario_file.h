#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "loadtest/scenario.h"

namespace baton::load {

// Reads a scenario (loadtest/README.md has the keys). INVALID_ARGUMENT names the file, the line and
// the key. Relative paths in it are of `folder`.
absl::StatusOr<Scenario> ParseScenario(const std::string& text, const std::string& name,
                                       const std::string& folder);
// NOT_FOUND: it cannot be opened.
absl::StatusOr<Scenario> ReadScenario(const std::string& path);

// What no key or flag alone can say: whether a scenario that is complete can be run. Errors call it
// `name`. Fills in what has a default by its kind.
absl::Status CheckScenario(Scenario& scenario, const std::string& name);

}  // namespace baton::load
