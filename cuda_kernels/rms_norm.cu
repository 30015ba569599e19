#include "cuda_kernels/rms_norm.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/norm_row.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

// Reads and writes rows * dim * 4 bytes of x, reads and writes sizeof(T) each of branch and y; one
// block to a row.
template <typename T, int kVector, int kParts>
__global__ void __launch_bounds__(1024) RmsNormKernel(RmsNormArgs<T> args) {
  AwaitEarlierKernels();
  SharedMemory memory;
  float* const branch_sums = memory.Shared<float>(blockDim.x / kWarpThreads);
  float* const sums = memory.Shared<float>(blockDim.x / kWarpThreads);
  const int64_t offset = static_cast<int64_t>(blockIdx.x) * args.dim;
  const auto square = [](float v) { return v * v; };
  const float inverse_dim = 1.0f / static_cast<float>(args.dim);

  NormRow<kVector, kParts> x;
  x.Load(args.x + offset, args.dim);
  if (args.branch != nullptr) {
    NormRow<kVector, kParts> branch;
    branch.Load(args.branch + offset, args.dim);
    if (args.branch_bias != nullptr) {
      branch.Apply(args.branch_bias, args.dim, [](float v, float b) { return v + b; });
    }
    if (args.branch_weight != nullptr) {
      const float sum = BlockSum(branch.Sum(square), branch_sums);
      const float scale = rsqrtf(sum * inverse_dim + args.epsilon);
      branch.Apply(args.branch_weight, args.dim, [&](float v, float w) { return v * scale * w; });
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) x.v[part][i] += branch.v[part][i];
    }
    x.Store(args.x + offset, args.dim);
  }
  if (args.y == nullptr) return;
  const float sum = BlockSum(x.Sum(square), sums);
  const float scale = rsqrtf(sum * inverse_dim + args.epsilon);
  x.Apply(args.weight, args.dim, [&](float v, float w) { return v * scale * w; });
  x.Store(args.y + offset, args.dim);
}

}  // namespace

template <typename T>
cudaError_t RmsNorm(const RmsNormArgs<T>& args, const LaunchStream& stream) {
  if (args.rows == 0 || args.dim == 0) return cudaSuccess;
  if (args.dim > kNormDimMax) return cudaErrorInvalidValue;
  const bool aligned = RowsAligned(args.x, args.dim, 16) && RowsAligned(args.weight, 0, 16) &&
                       RowsAligned(args.branch_bias, 0, 16) &&
                       RowsAligned(args.branch_weight, 0, 16) &&
                       RowsAligned(args.branch, args.dim, 4 * static_cast<int64_t>(sizeof(T))) &&
                       RowsAligned(args.y, args.dim, 4 * static_cast<int64_t>(sizeof(T)));
  return LaunchNorm(
      {PlanNorm(args.dim, aligned), args.rows, /*block_sums=*/2},
      [](auto vector, auto parts) {
        return &RmsNormKernel<T, decltype(vector)::value, decltype(parts)::value>;
      },
      args, stream);
}

template cudaError_t RmsNorm(const RmsNormArgs<float>&, const LaunchStream&);
template cudaError_t RmsNorm(const RmsNormArgs<__nv_bfloat16>&, const LaunchStream&);

}  // namespace baton::cuda
