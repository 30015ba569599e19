#pragma once

// Stands in for the header of this name. Kernels run one after another here; that a kernel which is
// launched early waits is checked when its threads return.

#include <cuda_runtime.h>

namespace baton::cuda {

inline void AwaitEarlierKernels() { cuda_host::AwaitEarlierKernels(); }

}  // namespace baton::cuda
