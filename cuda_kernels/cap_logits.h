#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// x = cap * tanh(x / cap): logits that a model keeps within (-cap, cap).
struct CapLogitsArgs {
  float* x;       // [count], read and written
  int64_t count;  // at most 2^31 * 1024
  float cap;      // above 0
};
cudaError_t CapLogits(const CapLogitsArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
