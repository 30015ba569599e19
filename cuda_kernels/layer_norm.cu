#include "cuda_kernels/layer_norm.h"

#include "cuda_kernels/norm_row.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/rms_norm.h"
#include "cuda_kernels/shared.h"

namespace baton::cuda {
namespace {

// Reads and writes rows * dim * 4 bytes of x, reads and writes sizeof(T) each of branch and y; one
// block to a row. The variance is of the row in registers, after its mean: no cancellation.
template <typename T, int kVector, int kParts>
__global__ void __launch_bounds__(1024) LayerNormKernel(LayerNormArgs<T> args) {
  SharedMemory memory;
  float* const sums = memory.Shared<float>(blockDim.x / kWarpThreads);
  float* const squares = memory.Shared<float>(blockDim.x / kWarpThreads);
  const int64_t offset = static_cast<int64_t>(blockIdx.x) * args.dim;
  const float inverse_dim = 1.0f / static_cast<float>(args.dim);
  const auto add = [](float v, float w) { return v + w; };

  NormRow<kVector, kParts> x;
  x.Load(args.x + offset, args.dim);
  if (args.branch != nullptr) {
    NormRow<kVector, kParts> branch;
    branch.Load(args.branch + offset, args.dim);
    if (args.branch_bias != nullptr) branch.Apply(args.branch_bias, args.dim, add);
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) x.v[part][i] += branch.v[part][i];
    }
    if (!args.post_norm) x.Store(args.x + offset, args.dim);
  }
  if (args.y == nullptr && !args.post_norm) return;
  const float mean = BlockSum(x.Sum([](float v) { return v; }), sums) * inverse_dim;
  const float variance =
      BlockSum(x.SumWithin(args.dim, [&](float v) { return (v - mean) * (v - mean); }), squares) *
      inverse_dim;
  const float scale = rsqrtf(variance + args.epsilon);
  x.Apply(args.weight, args.dim, [&](float v, float w) { return (v - mean) * scale * w; });
  if (args.bias != nullptr) x.Apply(args.bias, args.dim, add);
  if (args.post_norm) x.Store(args.x + offset, args.dim);
  if (args.y != nullptr) x.Store(args.y + offset, args.dim);
}

}  // namespace

template <typename T>
cudaError_t LayerNorm(const LayerNormArgs<T>& args, cudaStream_t stream) {
  if (args.rows == 0 || args.dim == 0) return cudaSuccess;
  if (args.dim > kNormDimMax) return cudaErrorInvalidValue;
  const bool aligned = RowsAligned(args.x, args.dim, 16) && RowsAligned(args.weight, 0, 16) &&
                       RowsAligned(args.bias, 0, 16) && RowsAligned(args.branch_bias, 0, 16) &&
                       RowsAligned(args.branch, args.dim, 4 * static_cast<int64_t>(sizeof(T))) &&
                       RowsAligned(args.y, args.dim, 4 * static_cast<int64_t>(sizeof(T)));
  return LaunchNorm(
      {PlanNorm(args.dim, aligned), args.rows, /*block_sums=*/2},
      [](auto vector, auto parts) {
        return &LayerNormKernel<T, decltype(vector)::value, decltype(parts)::value>;
      },
      args, stream);
}

template cudaError_t LayerNorm(const LayerNormArgs<float>&, cudaStream_t);
template cudaError_t LayerNorm(const LayerNormArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace baton::cuda
