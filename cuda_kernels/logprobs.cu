#include "cuda_kernels/logprobs.h"

#include <math_constants.h>

#include "cuda_kernels/key_collector.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 512;
constexpr int kWarps = kThreads / kWarpThreads;
constexpr int kPerRound = 2;  // keys of a thread
constexpr int kRound = kThreads * kPerRound;

// Reads a row twice, and once more where alternatives are wanted; one block to a row.
__global__ void __launch_bounds__(kThreads) LogprobKernel(LogprobArgs args) {
  SharedMemory memory;
  float* const maxima = memory.Shared<float>(kWarps);
  float* const sums = memory.Shared<float>(kWarps);
  KeyCollector collector(memory, kLogprobsMax, kRound);
  const int64_t row = blockIdx.x;
  const int32_t slot = args.slots[row];
  const int32_t wanted = slot < 0 ? -1 : args.wanted[slot];
  if (wanted < 0) return;
  const float* const logits = args.logits + row * args.stride;

  float highest = -CUDART_INF_F;
  for (int64_t i = threadIdx.x; i < args.vocabulary; i += kThreads) {
    highest = fmaxf(highest, logits[i]);
  }
  highest = BlockMax(highest, maxima);
  float sum = 0;
  for (int64_t i = threadIdx.x; i < args.vocabulary; i += kThreads) {
    sum += expf(logits[i] - highest);
  }
  const float log_sum = logf(BlockSum(sum, sums));
  if (threadIdx.x == 0) args.chosen[slot] = logits[args.tokens[slot]] - highest - log_sum;
  if (wanted == 0) return;

  collector.Start();
  for (int64_t first = 0; first < args.vocabulary; first += kRound) {
    for (int part = 0; part < kPerRound; ++part) {
      const int64_t i = first + part * kThreads + threadIdx.x;
      if (i < args.vocabulary) collector.Offer(KeyOf(-logits[i], static_cast<uint32_t>(i)));
    }
    collector.Settle();
  }
  const uint64_t* const best = collector.Finish();
  for (int32_t i = static_cast<int32_t>(threadIdx.x); i < wanted; i += kThreads) {
    const uint64_t key = best[i];
    const int64_t to = static_cast<int64_t>(slot) * args.top + i;
    args.top_tokens[to] = key == kNoKey ? -1 : static_cast<int32_t>(RowOf(key));
    args.top_logprobs[to] = key == kNoKey ? -CUDART_INF_F : -DistanceOf(key) - highest - log_sum;
  }
}

}  // namespace

cudaError_t Logprobs(const LogprobArgs& args, cudaStream_t stream) {
  if (args.rows == 0) return cudaSuccess;
  if (args.top < 0 || args.top > kLogprobsMax || args.vocabulary < 1 ||
      args.vocabulary > INT32_MAX) {
    return cudaErrorInvalidValue;
  }
  const size_t shared =
      2 * SharedPiece(kWarps * sizeof(float)) + KeyCollector::SharedBytes(kLogprobsMax, kRound);
  return Launch(&LogprobKernel, {dim3(static_cast<unsigned>(args.rows)), kThreads, shared}, stream,
                args);
}

}  // namespace baton::cuda
