#pragma once

#include <cuda_runtime.h>

#include "cuda_kernels/prefill_attention.h"

namespace baton::cuda {

// PrefillAttention on devices of compute capability 9.0: the same arguments and answers, the
// products by warpgroups (Shah et al., "FlashAttention-3", 2024). Keys and values of bf16, head
// dimensions above 64 up to 128. What it cannot run, another device among it, is
// cudaErrorInvalidValue.
cudaError_t PrefillAttentionSm90a(const PrefillAttentionArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
