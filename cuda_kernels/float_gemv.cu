#include "cuda_kernels/float_gemv.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kWarps = 4;

// Weights that are read once: 16 bytes of them, or one.
template <int kVector, typename W>
__device__ __forceinline__ void LoadWeights(const W* from, float (&w)[kVector]) {
  if constexpr (kVector == 1) {
    w[0] = ToFloat(*from);
  } else {
    const uint4 v = LoadStreamed(reinterpret_cast<const uint4*>(from));
    const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (sizeof(W) == 4) {
        w[i] = __uint_as_float(words[i]);
      } else {
        UnpackPair(words[i], from, w[2 * i], w[2 * i + 1]);
      }
    }
  }
}

// Reads the weights once, 2 * tokens * rows * cols FLOP; kRows rows of weights to a warp.
template <typename W, typename T, typename Y, int kVector, int kTokens, int kRows>
__global__ void __launch_bounds__(kWarps* kWarpThreads)
    FloatGemvKernel(FloatGemvArgs<W, T, Y> args) {
  AwaitEarlierKernels();
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  const int64_t first_row = warp * kRows;
  if (first_row >= args.rows) return;
  float sums[kRows][kTokens] = {};
#pragma unroll 2
  for (int64_t i = static_cast<int64_t>(lane) * kVector; i < args.cols;
       i += kWarpThreads * kVector) {
    float w[kRows][kVector];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      // A last row that is missing is read again, and not written.
      const int64_t row = min(first_row + r, args.rows - 1);
      LoadWeights(args.weights + row * args.weight_stride + i, w[r]);
    }
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (t >= args.tokens) break;
      float x[kVector];
      LoadFloats(args.x + t * args.x_stride + i, x);
#pragma unroll
      for (int r = 0; r < kRows; ++r) {
#pragma unroll
        for (int j = 0; j < kVector; ++j) sums[r][t] = fmaf(w[r][j], x[j], sums[r][t]);
      }
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const float sum = WarpSum(sums[r][t]);
      if (lane == 0 && t < args.tokens && first_row + r < args.rows) {
        FromFloat(sum, args.y[t * args.y_stride + first_row + r]);
      }
    }
  }
}

template <typename W, typename T, typename Y, int kVector, int kTokens, int kRows>
cudaError_t LaunchRows(const FloatGemvArgs<W, T, Y>& args, const LaunchStream& stream) {
  const int64_t blocks = CeilDiv(args.rows, kWarps * kRows);
  return Launch(&FloatGemvKernel<W, T, Y, kVector, kTokens, kRows>,
                {dim3(static_cast<unsigned>(blocks)), kWarps * kWarpThreads}, stream, args);
}

// x is read as often as a warp has fewer rows: more rows for more tokens.
template <typename W, typename T, typename Y, int kVector>
cudaError_t LaunchTokens(const FloatGemvArgs<W, T, Y>& args, const LaunchStream& stream) {
  if (args.tokens == 1) return LaunchRows<W, T, Y, kVector, 1, 2>(args, stream);
  if (args.tokens == 2) return LaunchRows<W, T, Y, kVector, 2, 2>(args, stream);
  if (args.tokens <= 4) return LaunchRows<W, T, Y, kVector, 4, 4>(args, stream);
  if (args.tokens <= 8) return LaunchRows<W, T, Y, kVector, 8, 4>(args, stream);
  return LaunchRows<W, T, Y, kVector, 16, 4>(args, stream);
}

}  // namespace

template <typename W, typename T, typename Y>
cudaError_t FloatGemv(const FloatGemvArgs<W, T, Y>& args, const LaunchStream& stream) {
  if (args.tokens > kFloatGemvTokensMax) return cudaErrorInvalidValue;
  if (args.tokens == 0 || args.rows == 0) return cudaSuccess;
  constexpr int kVector = 16 / static_cast<int>(sizeof(W));
  // As many elements of x: 8 to 32 bytes, read 16 at a time.
  constexpr int64_t kBytes = kVector * static_cast<int64_t>(sizeof(T));
  const bool aligned = args.cols % kVector == 0 &&
                       RowsAligned(args.weights, args.weight_stride, 16) &&
                       RowsAligned(args.x, args.x_stride, kBytes < 16 ? kBytes : 16);
  return aligned ? LaunchTokens<W, T, Y, kVector>(args, stream)
                 : LaunchTokens<W, T, Y, 1>(args, stream);
}

template cudaError_t FloatGemv(const FloatGemvArgs<float, float>&, const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<float, __nv_bfloat16>&, const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<__half, float>&, const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<__half, __nv_bfloat16>&, const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<__nv_bfloat16, float>&, const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<__nv_bfloat16, __nv_bfloat16>&,
                               const LaunchStream&);
template cudaError_t FloatGemv(const FloatGemvArgs<__nv_bfloat16, __nv_bfloat16, float>&,
                               const LaunchStream&);

}  // namespace baton::cuda
