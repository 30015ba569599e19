#include "cuda_kernels/penalties.h"

#include <math_constants.h>

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;

// Reads 8 bytes of each entry of a row's lists, reads and writes 4 of its token's logit; one block
// to a row. Sums are rounded as the host's are, hence no FMA.
__global__ void __launch_bounds__(kThreads) PenaliseKernel(PenaltyArgs args) {
  const int32_t slot = args.slots[blockIdx.x];
  if (slot < 0) return;
  const PenaltyParams params = args.params[slot];
  float* const logits = args.logits + static_cast<int64_t>(blockIdx.x) * args.stride;
  const TokenValue* const biases = args.lists + params.begin;
  const TokenValue* const repeated = biases + params.biases;
  const TokenValue* const penalties = repeated + params.repeated;
  const TokenValue* const excluded = penalties + params.penalties;
  const auto thread = static_cast<int32_t>(threadIdx.x);

  for (int32_t i = thread; i < params.biases; i += kThreads) {
    float& logit = logits[biases[i].token];
    logit = __fadd_rn(logit, biases[i].value);
  }
  __syncthreads();  // all have their biases
  for (int32_t i = thread; i < params.repeated; i += kThreads) {
    float& logit = logits[repeated[i].token];
    logit = logit > 0 ? logit / params.repetition : __fmul_rn(logit, params.repetition);
  }
  __syncthreads();  // what was there is less likely
  for (int32_t i = thread; i < params.penalties; i += kThreads) {
    float& logit = logits[penalties[i].token];
    logit = __fsub_rn(logit, penalties[i].value);
  }
  __syncthreads();  // penalties are taken off
  for (int32_t i = thread; i < params.excluded; i += kThreads) {
    logits[excluded[i].token] = -CUDART_INF_F;
  }
}

}  // namespace

cudaError_t Penalise(const PenaltyArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  return Launch(&PenaliseKernel, {dim3(static_cast<unsigned>(args.rows)), kThreads}, stream, args);
}

}  // namespace baton::cuda
