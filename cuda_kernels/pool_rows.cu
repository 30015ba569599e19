#include "cuda_kernels/pool_rows.h"

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 128;

// Reads the rows once, 4 bytes to a value; a thread adds up a column, in the order of rows.
__global__ void __launch_bounds__(kThreads) PoolRowsKernel(PoolRowsArgs args) {
  const int64_t column = static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x;
  if (column >= args.dim) return;
  const int64_t pool = blockIdx.x;
  const int64_t end = args.ends[pool];
  float sum = 0;
#pragma unroll 4
  for (int64_t row = args.begins[pool]; row < end; ++row) sum += args.x[row * args.dim + column];
  args.y[pool * args.dim + column] = sum;
}

}  // namespace

cudaError_t PoolRows(const PoolRowsArgs& args, cudaStream_t stream) {
  if (args.pools == 0 || args.dim == 0) return cudaSuccess;
  const int64_t parts = CeilDiv(args.dim, kThreads);
  if (parts > kGridYMax) return cudaErrorInvalidValue;
  return Launch(&PoolRowsKernel,
                {dim3(static_cast<unsigned>(args.pools), static_cast<unsigned>(parts)), kThreads},
                stream, args);
}

}  // namespace baton::cuda
