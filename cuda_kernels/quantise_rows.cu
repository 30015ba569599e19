#include "cuda_kernels/quantise_rows.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/paged_kv.h"
#include "cuda_kernels/quant_planes.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kQuantiseThreads = 128;
constexpr int kPerLane = 8;
constexpr int kUnitLanes = kUnitWeights / kPerLane;

// Reads rows * cols * sizeof(T), writes 1.25 bytes an element; eight of them to a lane.
template <typename T, int kVector>
__global__ void __launch_bounds__(kQuantiseThreads) QuantiseKernel(QuantiseRowsArgs<T> args) {
  AwaitEarlierKernels();
  const int64_t row = blockIdx.x;
  const int64_t at = (static_cast<int64_t>(blockIdx.y) * kQuantiseThreads + threadIdx.x) * kPerLane;
  const bool inside = at < args.cols;
  float x[kPerLane] = {};
  if (inside) {
    const T* const from = args.x + row * args.stride + at;
    if constexpr (kVector == kPerLane) {
      LoadFloats(from, x);
    } else {
#pragma unroll
      for (int i = 0; i < kPerLane; ++i) x[i] = ToFloat(from[i]);
    }
  }
  uint32_t largest = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) largest = max(largest, MagnitudeBits(x[i]));
#pragma unroll
  for (int lanes = kUnitLanes / 2; lanes > 0; lanes /= 2) {
    largest = max(largest, __shfl_xor_sync(kAllLanes, largest, lanes));
  }
  const KvScale scale = Int8Scale(largest);
  uint32_t words[kPerLane / 4] = {};
  int sum = 0;
#pragma unroll
  for (int i = 0; i < kPerLane; ++i) {
    const int8_t q = ToInt8(x[i] * scale.inverse);
    sum += q;
    words[i / 4] |= static_cast<uint32_t>(static_cast<uint8_t>(q)) << (8 * (i % 4));
  }
#pragma unroll
  for (int lanes = kUnitLanes / 2; lanes > 0; lanes /= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, lanes);
  }
  if (!inside) return;
  StoreWords(words, args.quants + row * args.cols + at);
  if (threadIdx.x % kUnitLanes == 0) {
    args.scales[(row * args.cols + at) / kUnitWeights] =
        make_float2(scale.scale, scale.scale * static_cast<float>(sum));
  }
}

}  // namespace

template <typename T>
cudaError_t QuantiseRows(const QuantiseRowsArgs<T>& args, const LaunchStream& stream) {
  if (args.cols % kUnitWeights != 0 || !RowsAligned(args.quants, args.cols, 16)) {
    return cudaErrorInvalidValue;
  }
  if (args.rows == 0 || args.cols == 0) return cudaSuccess;
  const int64_t parts = CeilDiv(args.cols, kQuantiseThreads * kPerLane);
  if (parts > kGridYMax) return cudaErrorInvalidValue;
  const LaunchShape shape = {dim3(static_cast<unsigned>(args.rows), static_cast<unsigned>(parts)),
                             kQuantiseThreads};
  return RowsAligned(args.x, args.stride, 16)
             ? Launch(&QuantiseKernel<T, kPerLane>, shape, stream, args)
             : Launch(&QuantiseKernel<T, 1>, shape, stream, args);
}

template cudaError_t QuantiseRows(const QuantiseRowsArgs<float>&, const LaunchStream&);
template cudaError_t QuantiseRows(const QuantiseRowsArgs<__nv_bfloat16>&, const LaunchStream&);

}  // namespace baton::cuda
