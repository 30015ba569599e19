#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/quant_planes.h"

namespace baton::cuda {

// Takes a GGUF tensor's blocks apart into planes, once, when a model is loaded.
struct RepackWeightsArgs {
  const unsigned char* blocks;  // [rows, cols] of the format's blocks as in the file, any alignment
  QuantPlanes planes;
  QuantShape shape;
};
cudaError_t RepackWeights(const RepackWeightsArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
