#include "cuda_kernels/cap_logits.h"

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kPerThread = 4;
constexpr int64_t kBlocksMax = (int64_t{1} << 31) - 1;  // of grid.x

// Reads and writes count * 4 bytes.
__global__ void __launch_bounds__(kThreads) CapLogitsKernel(CapLogitsArgs args) {
  const int64_t first = static_cast<int64_t>(blockIdx.x) * kThreads * kPerThread + threadIdx.x;
#pragma unroll
  for (int part = 0; part < kPerThread; ++part) {
    const int64_t i = first + part * kThreads;
    if (i < args.count) args.x[i] = args.cap * tanhf(args.x[i] / args.cap);
  }
}

}  // namespace

cudaError_t CapLogits(const CapLogitsArgs& args, cudaStream_t stream) {
  if (args.count == 0) return cudaSuccess;
  const int64_t blocks = CeilDiv(args.count, kThreads * kPerThread);
  if (blocks > kBlocksMax) return cudaErrorInvalidValue;
  return Launch(&CapLogitsKernel, {dim3(static_cast<unsigned>(blocks)), kThreads}, stream, args);
}

}  // namespace baton::cuda
