#include "cuda_kernels/quant_gemv.h"

#include "cuda_kernels/arch/grid_order.h"
#include "cuda_kernels/arch/math.h"
#include "cuda_kernels/launch.h"
#include "cuda_kernels/reduce.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

// kRows rows of weights to a warp: as many units under way, and x is read so many times less often.
template <int kOfWarps, int kOfRows>
struct Tile {
  static constexpr int kWarps = kOfWarps;
  static constexpr int kRows = kOfRows;
};
using UsualTile = Tile<4, 2>;

// A unit's activations.
struct Activations {
  int words[8];
  float2 scale;  // and scale times sum

  template <typename T>
  __device__ __forceinline__ void Load(const QuantGemvArgs<T>& args, int64_t number) {
    const uint4* const from = reinterpret_cast<const uint4*>(args.quants) + number * 2;
    const uint4 a = from[0];
    const uint4 b = from[1];
    const uint32_t all[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) words[i] = static_cast<int>(all[i]);
    scale = args.scales[number];
  }
};

__device__ __forceinline__ float HalfAt(const unsigned char* plane, int64_t index) {
  return __half2float(reinterpret_cast<const __half*>(plane)[index]);
}
// Sixteen nibble pairs as bytes: those of weights 0 to 15, then those of 16 to 31.
__device__ __forceinline__ void UnpackNibbles(const uint4& packed, int (&words)[8]) {
  const uint32_t all[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    words[i] = static_cast<int>(all[i] & 0x0f0f0f0fu);
    words[4 + i] = static_cast<int>(all[i] >> 4 & 0x0f0f0f0fu);
  }
}
__device__ __forceinline__ int Dot(const int (&a)[8], const int (&b)[8]) {
  int sum = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) sum = DotInt8(a[i], b[i], sum);
  return sum;
}

// A unit of weights: Load reads what is stored, Times multiplies with activations.
template <QuantFormat kFormat>
struct Unit;

template <>
struct Unit<QuantFormat::kQ8_0> {
  int words[8];
  float d;

  __device__ __forceinline__ void Load(const QuantPlanes& planes, int64_t number) {
    const uint4* const from = reinterpret_cast<const uint4*>(planes.quants) + number * 2;
    const uint4 a = LoadStreamed(from);
    const uint4 b = LoadStreamed(from + 1);
    const uint32_t all[8] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) words[i] = static_cast<int>(all[i]);
    d = HalfAt(planes.scales, number);
  }
  __device__ __forceinline__ float Times(const Activations& x) const {
    return d * x.scale.x * static_cast<float>(Dot(words, x.words));
  }
};

template <>
struct Unit<QuantFormat::kQ4_0> {
  int words[8];
  float d;

  __device__ __forceinline__ void Load(const QuantPlanes& planes, int64_t number) {
    UnpackNibbles(LoadStreamed(reinterpret_cast<const uint4*>(planes.quants) + number), words);
    d = HalfAt(planes.scales, number);
  }
  __device__ __forceinline__ float Times(const Activations& x) const {
    return d * (x.scale.x * static_cast<float>(Dot(words, x.words)) - 8 * x.scale.y);
  }
};

template <>
struct Unit<QuantFormat::kQ4K> {
  int words[8];
  float d;
  float minimum;

  __device__ __forceinline__ void Load(const QuantPlanes& planes, int64_t number) {
    UnpackNibbles(LoadStreamed(reinterpret_cast<const uint4*>(planes.quants) + number), words);
    const int both = reinterpret_cast<const uint16_t*>(planes.scales)[number];
    const int64_t super = number / kSuperUnits;
    d = HalfAt(planes.supers, super * 2) * static_cast<float>(both & 255);
    minimum = HalfAt(planes.supers, super * 2 + 1) * static_cast<float>(both >> 8);
  }
  __device__ __forceinline__ float Times(const Activations& x) const {
    return d * x.scale.x * static_cast<float>(Dot(words, x.words)) - minimum * x.scale.y;
  }
};

template <>
struct Unit<QuantFormat::kQ6K> {
  int words[8];
  float d[2];

  __device__ __forceinline__ void Load(const QuantPlanes& planes, int64_t number) {
    UnpackNibbles(LoadStreamed(reinterpret_cast<const uint4*>(planes.quants) + number), words);
    const uint2 high = reinterpret_cast<const uint2*>(planes.high)[number];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      words[i] |= static_cast<int>((high.x >> (2 * i) & 0x03030303u) << 4);
      words[4 + i] |= static_cast<int>((high.y >> (2 * i) & 0x03030303u) << 4);
    }
    const int both = reinterpret_cast<const uint16_t*>(planes.scales)[number];
    const float super = HalfAt(planes.supers, number / kSuperUnits);
    d[0] = super * static_cast<float>(static_cast<int8_t>(both & 255));
    d[1] = super * static_cast<float>(static_cast<int8_t>(both >> 8));
  }
  __device__ __forceinline__ float Times(const Activations& x) const {
    constexpr int kMinus32 = static_cast<int>(0xe0e0e0e0u);  // in each byte
    float sum = 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      int dot = 0;
#pragma unroll
      for (int i = 4 * half; i < 4 * half + 4; ++i) {
        dot = DotInt8(words[i], x.words[i], DotInt8(kMinus32, x.words[i], dot));
      }
      sum += d[half] * static_cast<float>(dot);
    }
    return x.scale.x * sum;
  }
};

// Reads the planes once, 2 * tokens * rows * cols OP; kRows rows of weights to a warp.
template <typename T, QuantFormat kFormat, int kTokens, typename Of>
__global__ void __launch_bounds__(Of::kWarps* kWarpThreads) QuantGemvKernel(QuantGemvArgs<T> args) {
  AwaitEarlierKernels();
  constexpr int kWarps = Of::kWarps;
  constexpr int kRows = Of::kRows;
  const int lane = static_cast<int>(threadIdx.x) % kWarpThreads;
  const int64_t warp = static_cast<int64_t>(blockIdx.x) * kWarps + threadIdx.x / kWarpThreads;
  const int64_t first_row = warp * kRows;
  if (first_row >= args.shape.rows) return;
  const int64_t units = args.shape.cols / kUnitWeights;
  float sums[kRows][kTokens] = {};
#pragma unroll 2
  for (int64_t u = lane; u < units; u += kWarpThreads) {
    Unit<kFormat> weights[kRows];
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      // A last row that is missing is read again, and not written.
      const int64_t row = min(first_row + r, args.shape.rows - 1);
      weights[r].Load(args.weights, row * units + u);
    }
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      if (t >= args.tokens) break;
      Activations x;
      x.Load(args, t * units + u);
#pragma unroll
      for (int r = 0; r < kRows; ++r) sums[r][t] += weights[r].Times(x);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
#pragma unroll
    for (int t = 0; t < kTokens; ++t) {
      const float sum = WarpSum(sums[r][t]);
      if (lane == 0 && t < args.tokens && first_row + r < args.shape.rows) {
        FromFloat(sum, args.y[t * args.y_stride + first_row + r]);
      }
    }
  }
}

template <typename T, QuantFormat kFormat, int kTokens, typename Of>
cudaError_t LaunchTile(const QuantGemvArgs<T>& args, const LaunchStream& stream) {
  return Launch(&QuantGemvKernel<T, kFormat, kTokens, Of>,
                {dim3(static_cast<unsigned>(CeilDiv(args.shape.rows, Of::kWarps * Of::kRows))),
                 Of::kWarps * kWarpThreads},
                stream, args);
}

template <typename T, QuantFormat kFormat>
cudaError_t LaunchTokens(const QuantGemvArgs<T>& args, const LaunchStream& stream) {
  if (args.tokens == 1) return LaunchTile<T, kFormat, 1, UsualTile>(args, stream);
  if (args.tokens == 2) return LaunchTile<T, kFormat, 2, UsualTile>(args, stream);
  if (args.tokens <= 4) return LaunchTile<T, kFormat, 4, UsualTile>(args, stream);
  return LaunchTile<T, kFormat, 8, UsualTile>(args, stream);
}

template <typename T>
bool CanRun(const QuantGemvArgs<T>& args) {
  return args.tokens <= kGemvTokensMax && args.shape.cols % QuantColumns(args.shape.format) == 0 &&
         RowsAligned(args.quants, args.shape.cols, 16) && RowsAligned(args.weights.quants, 0, 16);
}

template <QuantFormat kFormat>
cudaError_t LaunchVariant(const QuantGemvArgs<__nv_bfloat16>& args, int32_t variant,
                          const LaunchStream& stream) {
  using T = __nv_bfloat16;
  switch (variant) {
    case 0:
      return LaunchTile<T, kFormat, 1, UsualTile>(args, stream);
    case 1:
      return LaunchTile<T, kFormat, 1, Tile<4, 1>>(args, stream);
    case 2:
      return LaunchTile<T, kFormat, 1, Tile<4, 4>>(args, stream);
    case 3:
      return LaunchTile<T, kFormat, 1, Tile<8, 2>>(args, stream);
    default:
      return cudaErrorInvalidValue;
  }
}

}  // namespace

template <typename T>
cudaError_t QuantGemv(const QuantGemvArgs<T>& args, const LaunchStream& stream) {
  if (!CanRun(args)) return cudaErrorInvalidValue;
  if (args.tokens == 0 || args.shape.rows == 0) return cudaSuccess;
  switch (args.shape.format) {
    case QuantFormat::kQ8_0:
      return LaunchTokens<T, QuantFormat::kQ8_0>(args, stream);
    case QuantFormat::kQ4_0:
      return LaunchTokens<T, QuantFormat::kQ4_0>(args, stream);
    case QuantFormat::kQ4K:
      return LaunchTokens<T, QuantFormat::kQ4K>(args, stream);
    case QuantFormat::kQ6K:
      return LaunchTokens<T, QuantFormat::kQ6K>(args, stream);
  }
  return cudaErrorInvalidValue;
}

cudaError_t QuantGemvVariant(const QuantGemvArgs<__nv_bfloat16>& args, int32_t variant,
                             const LaunchStream& stream) {
  if (!CanRun(args) || args.tokens != 1) return cudaErrorInvalidValue;
  if (args.shape.rows == 0) return cudaSuccess;
  switch (args.shape.format) {
    case QuantFormat::kQ8_0:
      return LaunchVariant<QuantFormat::kQ8_0>(args, variant, stream);
    case QuantFormat::kQ4_0:
      return LaunchVariant<QuantFormat::kQ4_0>(args, variant, stream);
    case QuantFormat::kQ4K:
      return LaunchVariant<QuantFormat::kQ4K>(args, variant, stream);
    case QuantFormat::kQ6K:
      return LaunchVariant<QuantFormat::kQ6K>(args, variant, stream);
  }
  return cudaErrorInvalidValue;
}

template cudaError_t QuantGemv(const QuantGemvArgs<float>&, const LaunchStream&);
template cudaError_t QuantGemv(const QuantGemvArgs<__nv_bfloat16>&, const LaunchStream&);

}  // namespace baton::cuda
