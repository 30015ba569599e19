#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/base/thread_placement.h"
#include "engine/exec/cpu/cpu_options.h"
#include "engine/exec/executor.h"

namespace baton {

// The executor that is always there: every skill on the host's own cores, its threads where
// `placement` says; k-means, which is in no hurry, where the caller runs. `clock` outlives it.
// FAILED_PRECONDITION: `options.simd` names an instruction set that this machine lacks.
absl::StatusOr<std::unique_ptr<Executor>> MakeCpuExecutor(const CpuOptions& options,
                                                          const Clock& clock,
                                                          const ThreadPlacement& placement = {});

}  // namespace baton
