#include "cuda_kernels/penalties.h"

#include <math_constants.h>

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 16;
constexpr int kSlice = kThreads * kPerThread;  // of the vocabulary, to a block

// Reads a row's logits, and 4 bytes for each kind of count that its slot's penalties ask for;
// writes them. One block to a slice of a row. Sums are rounded as the host's are, hence no FMA.
__global__ void __launch_bounds__(kThreads) PenaliseKernel(PenaltyArgs args) {
  const int32_t slot = args.slots[blockIdx.y];
  if (slot < 0) return;
  const PenaltyParams params = args.params[slot];
  const int64_t row = static_cast<int64_t>(blockIdx.y) * args.stride;
  const int64_t begin = static_cast<int64_t>(blockIdx.x) * kSlice;
  const int64_t end = min(begin + kSlice, args.vocabulary);
  const int64_t counts = slot * args.vocabulary;
  const bool repeats = params.repetition != 1 && params.last_n != 0;
  const bool counted = params.frequency != 0 || params.presence != 0;
  const uint32_t* const mask =
      params.masked != 0 ? args.masks + slot * CeilDiv(args.vocabulary, 32) : nullptr;

  if (args.out != args.logits || params.bias_count > 0) {
    for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
      args.out[row + i] = args.logits[row + i];
    }
    __syncthreads();  // all are there that biases are added to
    for (int32_t i = static_cast<int32_t>(threadIdx.x); i < params.bias_count; i += kThreads) {
      const TokenBias bias = args.biases[params.bias_begin + i];
      if (bias.token < begin || bias.token >= end) continue;
      float& logit = args.out[row + bias.token];
      logit = __fadd_rn(logit, bias.bias);
    }
    __syncthreads();  // and now with their biases
  }
  if (!repeats && !counted && mask == nullptr) return;
  for (int64_t i = begin + threadIdx.x; i < end; i += kThreads) {
    float logit = args.out[row + i];
    if (repeats && args.window_counts[counts + i] > 0) {
      logit = logit > 0 ? logit / params.repetition : __fmul_rn(logit, params.repetition);
    }
    if (counted) {
      const int32_t count = args.chosen_counts[counts + i];
      if (count > 0) {
        const float by = __fmul_rn(static_cast<float>(count), params.frequency);
        logit = __fsub_rn(logit, __fadd_rn(by, params.presence));
      }
    }
    if (mask != nullptr && (mask[i / 32] >> (i % 32) & 1) == 0) logit = -CUDART_INF_F;
    args.out[row + i] = logit;
  }
}

// Some 12 bytes to each token; one block to a row. With N tokens so far and n more, a window of w
// has been tokens [N - w, N) and becomes [N + n - w, N + n).
__global__ void __launch_bounds__(kThreads) RememberKernel(RememberArgs args) {
  const int64_t row = blockIdx.x;
  const int32_t slot = args.slots[row];
  if (slot < 0) return;
  const PenaltyParams params = args.params[slot];
  const int32_t* const tokens = args.tokens + args.begins[row];
  const int64_t count = args.begins[row + 1] - args.begins[row];
  int32_t* const window_counts = args.window_counts + slot * args.vocabulary;
  int32_t* const window = args.window + slot * args.window_capacity;
  const int64_t before = args.remembered[slot];
  const int64_t after = before + count;
  const bool all = params.last_n < 0;
  const int64_t length = params.last_n;

  if (!all && length > 0) {
    for (int64_t i = max(static_cast<int64_t>(0), before - length) + threadIdx.x;
         i < min(before, after - length); i += kThreads) {
      atomicAdd(&window_counts[window[i % length]], -1);
    }
  }
  __syncthreads();  // what leaves the window was read, and everyone knows how many there were
  for (int64_t i = before + threadIdx.x; i < after; i += kThreads) {
    const int32_t token = tokens[i - before];
    if (args.chosen) atomicAdd(&args.chosen_counts[slot * args.vocabulary + token], 1);
    if (all) {
      atomicAdd(&window_counts[token], 1);
    } else if (i >= after - length) {
      atomicAdd(&window_counts[token], 1);
      window[i % length] = token;
    }
  }
  if (threadIdx.x == 0) args.remembered[slot] = after;
}

}  // namespace

cudaError_t Penalise(const PenaltyArgs& args, cudaStream_t stream) {
  if (args.rows == 0 || args.vocabulary == 0) return cudaSuccess;
  if (args.rows > kGridYMax) return cudaErrorInvalidValue;
  return Launch(&PenaliseKernel,
                {dim3(static_cast<unsigned>(CeilDiv(args.vocabulary, kSlice)),
                      static_cast<unsigned>(args.rows)),
                 kThreads},
                stream, args);
}

cudaError_t RememberTokens(const RememberArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  return Launch(&RememberKernel, {dim3(static_cast<unsigned>(args.rows)), kThreads}, stream, args);
}

}  // namespace baton::cuda
