#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/kv_blocks.h"

namespace baton::cuda {

// Positions [0, tokens) of a sequence from blocks of one layout to blocks of another: packed for a
// handoff (bf16 to int8 before it crosses PCIe) or unpacked after one. Types and positions to a
// block may differ; what is of the same type is copied as it is. What lies behind the last position
// in a block is left as it is.
struct ConvertKvArgs {
  PagedKv source;       // its layer_offset is the first layer's; table of sequence 0
  PagedKv destination;  // as well; the same kv_heads and head_dim
  int64_t tokens;
  int64_t layers;  // behind one another on both sides
};
// Head dimensions up to 512.
cudaError_t ConvertKv(const ConvertKvArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
