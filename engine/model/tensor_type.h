#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace baton {

// Types of tensor data that can be computed with. Values are GGUF's own numbers.
enum class TensorType : uint32_t {
  kF32 = 0,
  kF16 = 1,
  kQ4_0 = 2,
  kQ4_1 = 3,
  kQ5_0 = 6,
  kQ5_1 = 7,
  kQ8_0 = 8,
  kQ4K = 12,
  kQ5K = 13,
  kQ6K = 14,
  kBF16 = 30,
};

// All of them.
std::span<const TensorType> TensorTypes();
// The type of this number in a GGUF file; absent where it is none of ours.
std::optional<TensorType> TensorTypeOf(uint32_t gguf_type);

// Q8_0: 32 weights in 34 bytes: an f16 scale d, then 32 int8 q; weight = d * q. The other
// quantised types' blocks are described where they are read (tensor_type.cc).
inline constexpr int kQ8BlockWeights = 32;
struct BlockQ8 {
  uint16_t scale_f16;
  int8_t quants[kQ8BlockWeights];
};
static_assert(sizeof(BlockQ8) == 34);

std::string_view Name(TensorType type);
// Weights in one block of `type`: a row's length must be a multiple of it.
int64_t BlockWeights(TensorType type);
// Bytes of a row of `cols` weights.
int64_t RowBytes(TensorType type, int64_t cols);
// Where a block of a quantised type holds its f16 scales, in bytes; none for the others.
std::span<const int> ScaleOffsets(TensorType type);

// A block of a quantised type taken apart: whose weight i, of sub-block j = i / sub_weights, is
//   d * scales[j] * (quants[i] - offset) + min_sign * m * mins[j]
// with d and m the numbers of scale_f16 and min_f16.
struct QuantBlock {
  std::array<uint8_t, 256> quants;
  int offset = 0;
  uint16_t scale_f16 = 0;
  uint16_t min_f16 = 0;
  int sub_weights = 0;
  int min_sign = 0;  // 0: no minimums
  std::array<int8_t, 16> scales;
  std::array<uint8_t, 8> mins;
};
QuantBlock UnpackBlock(TensorType type, const std::byte* block);

// One row of weights to f32: src is [RowBytes(type, cols)], dst is [cols]. The naive twin of every
// kernel that reads weights.
void DequantizeRow(TensorType type, const std::byte* src, int64_t cols, float* dst);

// IEEE binary16 to binary32, exact, NaN and denormals included.
float F16ToF32(uint16_t half);

}  // namespace baton
