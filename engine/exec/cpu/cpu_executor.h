#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/exec/cpu/cpu_options.h"
#include "engine/exec/executor.h"

namespace baton {

// The executor that is always there: every skill on the host's own cores. `clock` outlives it.
// FAILED_PRECONDITION: `options.simd` names an instruction set that this machine lacks.
absl::StatusOr<std::unique_ptr<Executor>> MakeCpuExecutor(const CpuOptions& options,
                                                          const Clock& clock);

}  // namespace baton
