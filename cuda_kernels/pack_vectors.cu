#include "cuda_kernels/pack_vectors.h"

#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 8;

// Reads rows * dimension * 4 bytes, writes half of them; a warp to a row.
__global__ void __launch_bounds__(kWarps* kWarpThreads) PackKernel(PackVectorsArgs args) {
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t row = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  if (row >= args.rows) return;
  const float* const from = args.vectors + row * args.dimension;
  __nv_bfloat16* const to = args.packed + row * PackedColumns(args.dimension);
  float squares = 0;
  for (int64_t i = 2 * lane; i < PackedColumns(args.dimension); i += 2 * kWarpThreads) {
    const float pair[2] = {i < args.dimension ? from[i] : 0,
                           i + 1 < args.dimension ? from[i + 1] : 0};
    StoreFloats(pair, to + i);
    float rounded[2];
    LoadFloats(to + i, rounded);
    squares += rounded[0] * rounded[0] + rounded[1] * rounded[1];
  }
  squares = WarpSum(squares);
  if (lane != 0 || args.metric == VectorMetric::kInnerProduct) return;
  const bool cosine = args.metric == VectorMetric::kCosine;
  args.terms[row] = !cosine ? squares : squares > 0 ? 1 / sqrtf(squares) : 0;
}

}  // namespace

cudaError_t PackVectors(const PackVectorsArgs& args, cudaStream_t stream) {
  if (args.rows == 0 || args.dimension == 0) return cudaSuccess;
  if (!RowsAligned(args.packed, 0, 16)) return cudaErrorInvalidValue;
  return Launch(&PackKernel,
                {dim3(static_cast<unsigned>(CeilDiv(args.rows, kWarps))), kWarps * kWarpThreads},
                stream, args);
}

}  // namespace baton::cuda
