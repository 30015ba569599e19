#include "cuda_kernels/add_bias.h"

#include <cuda_bf16.h>

#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kThreads = 256;

// By the tail, which loses nothing where v is far below 0.
__device__ __forceinline__ float Gelu(float v) {
  constexpr float kSqrtHalf = 0.70710678118654752f;
  return 0.5f * v * erfcf(-v * kSqrtHalf);
}

// Reads and writes rows * dim * sizeof(T).
template <typename T, int kVector>
__global__ void __launch_bounds__(kThreads) AddBiasKernel(AddBiasArgs<T> args) {
  const int64_t at = (static_cast<int64_t>(blockIdx.y) * kThreads + threadIdx.x) * kVector;
  if (at >= args.dim) return;
  T* const of_row = args.x + static_cast<int64_t>(blockIdx.x) * args.dim + at;
  float x[kVector];
  float bias[kVector];
  LoadFloats(of_row, x);
  LoadFloats(args.bias + at, bias);
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    const float v = x[i] + bias[i];
    x[i] = args.then == BiasThen::kGelu ? Gelu(v) : v;
  }
  StoreFloats(x, of_row);
}

}  // namespace

template <typename T>
cudaError_t AddBias(const AddBiasArgs<T>& args, cudaStream_t stream) {
  if (args.rows == 0 || args.dim == 0) return cudaSuccess;
  constexpr int kVector = 16 / sizeof(T);
  const bool vectors =
      RowsAligned(args.x, args.dim, 16) && RowsAligned(args.bias, 0, 16) && args.dim % kVector == 0;
  const int64_t parts = CeilDiv(args.dim, kThreads * (vectors ? kVector : 1));
  if (parts > kGridYMax) return cudaErrorInvalidValue;
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(parts)),
                             kThreads};
  return vectors ? Launch(&AddBiasKernel<T, kVector>, shape, stream, args)
                 : Launch(&AddBiasKernel<T, 1>, shape, stream, args);
}

template cudaError_t AddBias(const AddBiasArgs<float>&, cudaStream_t);
template cudaError_t AddBias(const AddBiasArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace baton::cuda
