#include "cuda_kernels/dequantise_weights.h"

#include <cuda_fp16.h>

#include "cuda_kernels/launch.h"
#include "cuda_kernels/vector_io.h"

namespace baton::cuda {
namespace {

constexpr int kDequantiseThreads = 256;
constexpr int kEight = 8;  // weights of a thread
constexpr int kParts = kUnitWeights / kEight;

__device__ __forceinline__ float ScaleAt(const unsigned char* halves, int64_t index) {
  return __half2float(reinterpret_cast<const __half*>(halves)[index]);
}

// Weights 8 * part to 8 * part + 7 of a unit, four to a word, as they are stored.
__device__ __forceinline__ void LoadNibbles(const QuantPlanes& planes, int64_t unit, int part,
                                            uint32_t (&words)[2]) {
  LoadWords(planes.quants + unit * 16 + part % 2 * kEight, words);
  const int shift = part / 2 * 4;
  words[0] = words[0] >> shift & 0x0f0f0f0fu;
  words[1] = words[1] >> shift & 0x0f0f0f0fu;
}

// Weight i of them is a * q - b.
__device__ __forceinline__ void Spread(const uint32_t (&words)[2], float a, float b,
                                       float (&x)[kEight]) {
#pragma unroll
  for (int i = 0; i < kEight; ++i) {
    x[i] = a * static_cast<float>(words[i / 4] >> (8 * (i % 4)) & 255) - b;
  }
}

__device__ __forceinline__ void LoadEight(const QuantPlanes& planes, QuantFormat format,
                                          int64_t unit, int part, float (&x)[kEight]) {
  uint32_t words[2];
  if (format == QuantFormat::kQ8_0) {
    LoadWords(planes.quants + unit * 32 + part * kEight, words);
    const float d = ScaleAt(planes.scales, unit);
#pragma unroll
    for (int i = 0; i < kEight; ++i) {
      x[i] = d * static_cast<float>(static_cast<int8_t>(words[i / 4] >> (8 * (i % 4))));
    }
    return;
  }
  LoadNibbles(planes, unit, part, words);
  const unsigned char* const scales = planes.scales + unit * 2;
  const int64_t super = unit / kSuperUnits;
  if (format == QuantFormat::kQ4_0) {
    const float d = ScaleAt(planes.scales, unit);
    Spread(words, d, 8 * d, x);
  } else if (format == QuantFormat::kQ4K) {
    Spread(words, ScaleAt(planes.supers, super * 2) * static_cast<float>(scales[0]),
           ScaleAt(planes.supers, super * 2 + 1) * static_cast<float>(scales[1]), x);
  } else {
    // Weights 8 * part + i, of half part / 2: byte i % 4 of the half's word, bits i % 16 / 4 * 2.
    const uint32_t high = reinterpret_cast<const uint32_t*>(planes.high)[unit * 2 + part / 2];
    const int shift = part % 2 * 4;
    words[0] |= (high >> shift & 0x03030303u) << 4;
    words[1] |= (high >> (shift + 2) & 0x03030303u) << 4;
    const float d =
        ScaleAt(planes.supers, super) * static_cast<float>(static_cast<int8_t>(scales[part / 2]));
    Spread(words, d, 32 * d, x);
  }
}

// Reads the rows' planes once and writes rows * cols T; eight weights to a thread.
template <typename T>
__global__ void __launch_bounds__(kDequantiseThreads)
    DequantiseKernel(DequantiseWeightsArgs<T> args) {
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kDequantiseThreads + threadIdx.x;
  const int64_t units = args.shape.cols / kUnitWeights;
  if (index >= args.rows * units * kParts) return;
  const int64_t unit = args.first_row * units + index / kParts;
  float x[kEight];
  LoadEight(args.weights, args.shape.format, unit, static_cast<int>(index % kParts), x);
  StoreFloats(x, args.y + index * kEight);
}

}  // namespace

template <typename T>
cudaError_t DequantiseWeights(const DequantiseWeightsArgs<T>& args, cudaStream_t stream) {
  if (args.shape.cols % QuantColumns(args.shape.format) != 0 || args.first_row < 0 ||
      args.first_row + args.rows > args.shape.rows || !RowsAligned(args.y, 0, 16)) {
    return cudaErrorInvalidValue;
  }
  const int64_t pieces = args.rows * args.shape.cols / kEight;
  if (pieces <= 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(CeilDiv(pieces, kDequantiseThreads)));
  return Launch(&DequantiseKernel<T>, {grid, kDequantiseThreads}, stream, args);
}

template cudaError_t DequantiseWeights(const DequantiseWeightsArgs<float>&, cudaStream_t);
template cudaError_t DequantiseWeights(const DequantiseWeightsArgs<__nv_bfloat16>&, cudaStream_t);

}  // namespace baton::cuda
