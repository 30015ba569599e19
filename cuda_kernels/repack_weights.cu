#include "cuda_kernels/repack_weights.h"

#include "cuda_kernels/launch.h"

namespace baton::cuda {
namespace {

constexpr int kRepackThreads = 128;

// GGUF's blocks, in bytes.
constexpr int kQ8Block = 34;    // f16 d, 32 int8
constexpr int kQ4Block = 18;    // f16 d, 16 bytes of nibbles: weights 0 to 15 low, 16 to 31 high
constexpr int kQ4KBlock = 144;  // f16 d, f16 dmin, 12 of 6 bit scales and minimums, 128 of nibbles
constexpr int kQ6KBlock = 210;  // 128 of low, 64 of high bits, 16 int8 scales, f16 d

__device__ __forceinline__ void CopyBytes(const unsigned char* from, int count, unsigned char* to) {
  for (int i = 0; i < count; ++i) to[i] = from[i];
}

// Scale (below) and minimum (above) j of 8: the first four have six bits in bytes j and 4 + j; of
// the others four bits are in byte 4 + j, and two on top of those of the first four.
__device__ __forceinline__ void UnpackScales(const unsigned char* packed, int j,
                                             unsigned char* scale_and_minimum) {
  if (j < 4) {
    scale_and_minimum[0] = packed[j] & 63;
    scale_and_minimum[1] = packed[4 + j] & 63;
  } else {
    scale_and_minimum[0] =
        static_cast<unsigned char>((packed[4 + j] & 15) | (packed[j - 4] >> 6 << 4));
    scale_and_minimum[1] = static_cast<unsigned char>((packed[4 + j] >> 4) | (packed[j] >> 6 << 4));
  }
}

__device__ __forceinline__ void RepackQ4K(const unsigned char* block, int part, int64_t unit,
                                          const QuantPlanes& to) {
  // 64 weights share 32 bytes, the first half of them in the low bits.
  const unsigned char* const from = block + 16 + part / 2 * 32;
  const int shift = part % 2 * 4;
  for (int i = 0; i < 16; ++i) {
    const int low = from[i] >> shift & 15;
    const int high = from[16 + i] >> shift & 15;
    to.quants[unit * 16 + i] = static_cast<unsigned char>(low | high << 4);
  }
  UnpackScales(block + 4, part, to.scales + unit * 2);
  if (part == 0) CopyBytes(block, 4, to.supers + unit / kSuperUnits * 4);
}

__device__ __forceinline__ void RepackQ6K(const unsigned char* block, int part, int64_t unit,
                                          const QuantPlanes& to) {
  // 128 weights share 64 low bytes and 32 high ones: of the four parts of 32, the first two are in
  // the low bits of the first and second 32 bytes, the others in the high bits.
  const unsigned char* const low = block + part / 4 * 64 + part % 2 * 32;
  const unsigned char* const high = block + 128 + part / 4 * 32;
  const int low_shift = part % 4 / 2 * 4;
  const int high_shift = part % 4 * 2;
  unsigned char packed_high[8] = {};
  for (int i = 0; i < 32; ++i) {
    const int bits = high[i] >> high_shift & 3;
    packed_high[i / 16 * 4 + i % 4] |= static_cast<unsigned char>(bits << (i % 16 / 4 * 2));
  }
  for (int i = 0; i < 16; ++i) {
    const int first = low[i] >> low_shift & 15;
    const int second = low[16 + i] >> low_shift & 15;
    to.quants[unit * 16 + i] = static_cast<unsigned char>(first | second << 4);
  }
  CopyBytes(packed_high, 8, to.high + unit * 8);
  CopyBytes(block + 192 + part * 2, 2, to.scales + unit * 2);
  if (part == 0) CopyBytes(block + 208, 2, to.supers + unit / kSuperUnits * 2);
}

// Reads and writes the tensor once; one thread to a unit.
__global__ void __launch_bounds__(kRepackThreads) RepackKernel(RepackWeightsArgs args) {
  const int64_t unit = static_cast<int64_t>(blockIdx.x) * kRepackThreads + threadIdx.x;
  if (unit >= args.shape.rows * args.shape.cols / kUnitWeights) return;
  const int part = static_cast<int>(unit % kSuperUnits);
  const QuantPlanes& to = args.planes;
  switch (args.shape.format) {
    case QuantFormat::kQ8_0:
      CopyBytes(args.blocks + unit * kQ8Block, 2, to.scales + unit * 2);
      return CopyBytes(args.blocks + unit * kQ8Block + 2, 32, to.quants + unit * 32);
    case QuantFormat::kQ4_0:
      CopyBytes(args.blocks + unit * kQ4Block, 2, to.scales + unit * 2);
      return CopyBytes(args.blocks + unit * kQ4Block + 2, 16, to.quants + unit * 16);
    case QuantFormat::kQ4K:
      return RepackQ4K(args.blocks + unit / kSuperUnits * kQ4KBlock, part, unit, to);
    case QuantFormat::kQ6K:
      return RepackQ6K(args.blocks + unit / kSuperUnits * kQ6KBlock, part, unit, to);
  }
}

}  // namespace

cudaError_t RepackWeights(const RepackWeightsArgs& args, cudaStream_t stream) {
  if (args.shape.cols % QuantColumns(args.shape.format) != 0) return cudaErrorInvalidValue;
  const int64_t units = args.shape.rows * args.shape.cols / kUnitWeights;
  if (units == 0) return cudaSuccess;
  const dim3 grid(static_cast<unsigned>(CeilDiv(units, kRepackThreads)));
  return Launch(&RepackKernel, {grid, kRepackThreads}, stream, args);
}

}  // namespace baton::cuda
