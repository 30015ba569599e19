#include "engine/model/tensor_type.h"

#include <bit>
#include <cstring>

#include "engine/base/check.h"

namespace baton {

std::string_view Name(TensorType type) {
  switch (type) {
    case TensorType::kF32:
      return "F32";
    case TensorType::kF16:
      return "F16";
    case TensorType::kQ8_0:
      return "Q8_0";
  }
  return "unknown";
}

int64_t BlockWeights(TensorType type) { return type == TensorType::kQ8_0 ? kQ8BlockWeights : 1; }

int64_t RowBytes(TensorType type, int64_t cols) {
  BATON_DCHECK(cols % BlockWeights(type) == 0);
  switch (type) {
    case TensorType::kF32:
      return cols * 4;
    case TensorType::kF16:
      return cols * 2;
    case TensorType::kQ8_0:
      return cols / kQ8BlockWeights * static_cast<int64_t>(sizeof(BlockQ8));
  }
  return 0;
}

void DequantizeRow(TensorType type, const std::byte* src, int64_t cols, float* dst) {
  switch (type) {
    case TensorType::kF32:
      std::memcpy(dst, src, static_cast<size_t>(cols) * 4);
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < cols; ++i) {
        uint16_t half;
        std::memcpy(&half, src + i * 2, 2);
        dst[i] = F16ToF32(half);
      }
      return;
    case TensorType::kQ8_0:
      for (int64_t block = 0; block < cols / kQ8BlockWeights; ++block) {
        BlockQ8 q;
        std::memcpy(&q, src + block * static_cast<int64_t>(sizeof(BlockQ8)), sizeof(q));
        const float scale = F16ToF32(q.scale_f16);
        for (int i = 0; i < kQ8BlockWeights; ++i) {
          dst[block * kQ8BlockWeights + i] = scale * static_cast<float>(q.quants[i]);
        }
      }
      return;
  }
}

float F16ToF32(uint16_t half) {
  const uint32_t sign = static_cast<uint32_t>(half & 0x8000u) << 16;
  const uint32_t exponent = (half >> 10) & 0x1fu;
  const uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {
    // Zero or denormal: mantissa * 2^-24, exact in f32.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 0x1f) {
    return std::bit_cast<float>(sign | 0x7f800000u | mantissa << 13);
  }
  return std::bit_cast<float>(sign | (exponent + 127 - 15) << 23 | mantissa << 13);
}

}  // namespace baton
