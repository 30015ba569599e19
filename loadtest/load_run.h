#pragma once

#include <atomic>

#include "absl/status/status.h"
#include "loadtest/load_options.h"
#include "loadtest/report.h"

namespace baton::load {

// Sends load from the calling thread until the duration has passed or `stop` is set, then waits for
// what is under way (at most until its deadlines). Figures go to `results`, also where it fails.
// UNAVAILABLE: nothing answers at the target. NOT_FOUND, INVALID_ARGUMENT: the inputs are not
// there.
absl::Status RunLoad(const LoadOptions& options, const std::atomic<bool>& stop, Results& results);

}  // namespace baton::load
