#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baton {

// Types of tensor data that can be computed with. Values are GGUF's own numbers.
enum class TensorType : uint32_t { kF32 = 0, kF16 = 1, kQ8_0 = 8 };

// Q8_0: 32 weights in 34 bytes: an f16 scale d, then 32 int8 q; weight = d * q.
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

// One row of weights to f32: src is [RowBytes(type, cols)], dst is [cols]. The naive twin of every
// kernel that reads quantised weights.
void DequantizeRow(TensorType type, const std::byte* src, int64_t cols, float* dst);

// IEEE binary16 to binary32, exact, NaN and denormals included.
float F16ToF32(uint16_t half);

}  // namespace baton
