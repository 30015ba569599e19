#include "cuda_kernels/embedding.h"

#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kEmbeddingThreads = 128;

// Reads rows * dim * sizeof(T), and as many f32 of offsets, writes rows * dim * 4 bytes; one block
// to a part of a row.
template <typename T, int kVector>
__global__ void __launch_bounds__(kEmbeddingThreads) EmbeddingKernel(EmbeddingArgs<T> args) {
  const int64_t row = blockIdx.x;
  const int64_t first =
      (static_cast<int64_t>(blockIdx.y) * kEmbeddingThreads + threadIdx.x) * kVector;
  if (first >= args.dim) return;
  const int32_t token = args.tokens[row];
  float x[kVector] = {};
  if (token >= 0 && token < args.vocabulary) {
    LoadFloats(args.table + token * args.dim + first, x);
#pragma unroll
    for (int i = 0; i < kVector; ++i) x[i] *= args.scale;
    if (args.offsets != nullptr) {
      float offset[kVector];
      LoadFloats(args.offsets + args.offset[row] * args.dim + first, offset);
#pragma unroll
      for (int i = 0; i < kVector; ++i) x[i] += offset[i];
    }
  }
  StoreFloats(x, args.y + row * args.dim + first);
}

}  // namespace

template <typename T>
cudaError_t Embedding(const EmbeddingArgs<T>& args, cudaStream_t stream) {
  if (args.rows == 0 || args.dim == 0) return cudaSuccess;
  constexpr int kVector = 16 / sizeof(T);
  const bool vectors = RowsAligned(args.table, args.dim, 16) && RowsAligned(args.y, args.dim, 16) &&
                       RowsAligned(args.offsets, args.dim, 16) && args.dim % kVector == 0;
  const int64_t parts = CeilDiv(args.dim, kEmbeddingThreads * (vectors ? kVector : 1));
  if (parts > kGridYMax) return cudaErrorInvalidValue;
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(parts)),
                             kEmbeddingThreads};
  return vectors ? Launch(&EmbeddingKernel<T, kVector>, shape, stream, args)
                 : Launch(&EmbeddingKernel<T, 1>, shape, stream, args);
}

template cudaError_t Embedding(const EmbeddingArgs<float>&, cudaStream_t);
template cudaError_t Embedding(const EmbeddingArgs<__half>&, cudaStream_t);
template cudaError_t Embedding(const EmbeddingArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace baton::cuda
