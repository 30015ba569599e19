#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/distance_top_k.h"

namespace baton::cuda {

// DistanceTopK for many queries on devices of compute capability 9.0: the same arguments and
// answers, the products by warpgroups and the rows brought by the copy engine. One row or more, and
// at most as many splits as there are tiles of 128 rows. What it cannot run, another device among
// it, is cudaErrorInvalidValue.
cudaError_t DistanceTopKSm90a(const DistanceTopKArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
