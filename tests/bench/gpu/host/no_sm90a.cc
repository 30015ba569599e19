// The host runtime has no kernels for compute capability 9.0 alone: what their launchers answer on
// a device of another.
#include "cuda_kernels/distance_top_k_sm90a.h"
#include "cuda_kernels/prefill_attention_sm90a.h"

namespace baton::cuda {

cudaError_t DistanceTopKSm90a(const DistanceTopKArgs&, cudaStream_t) {
  return cudaErrorInvalidValue;
}

cudaError_t PrefillAttentionSm90a(const PrefillAttentionArgs&, cudaStream_t) {
  return cudaErrorInvalidValue;
}

}  // namespace baton::cuda
