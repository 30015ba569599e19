#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "engine/kv/kv_layout.h"
#include "engine/kv/kv_rows.h"
#include "tests/support/quantise.h"

namespace baton {

// Conversion as the types' comments say it, an element at a time.
inline float NaiveElement(KvType type, const std::byte* row, int64_t d, float scale) {
  switch (type) {
    case KvType::kF32: {
      float value;
      std::memcpy(&value, row + 4 * d, 4);
      return value;
    }
    case KvType::kF16:
    case KvType::kBF16: {
      uint16_t half;
      std::memcpy(&half, row + 2 * d, 2);
      return type == KvType::kF16 ? F16ToF32(half) : std::bit_cast<float>(uint32_t{half} << 16);
    }
    case KvType::kInt8:
      break;
  }
  return scale * static_cast<float>(static_cast<int8_t>(row[d]));
}

inline uint16_t NaiveBF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  if (std::isnan(value)) return static_cast<uint16_t>((bits >> 16) | 0x40);
  const uint32_t rest = bits & 0xffff;
  const uint32_t down = bits >> 16;
  const bool up = rest > 0x8000 || (rest == 0x8000 && (down & 1) == 1);
  return static_cast<uint16_t>(down + (up ? 1 : 0));
}

inline void NaiveConvertRows(const KvRowsArgs& args) {
  const auto bytes_of = [](KvType type) {
    return type == KvType::kF32 ? int64_t{4} : type == KvType::kInt8 ? int64_t{1} : int64_t{2};
  };
  for (int64_t r = 0; r < args.rows; ++r) {
    const std::byte* in = args.source + r * args.head_dim * bytes_of(args.source_type);
    std::byte* out = args.destination + r * args.head_dim * bytes_of(args.destination_type);
    float in_scale = 1;
    if (args.source_type == KvType::kInt8) std::memcpy(&in_scale, args.source_scales + 4 * r, 4);
    if (args.source_type == args.destination_type) {
      std::memcpy(out, in, static_cast<size_t>(args.head_dim * bytes_of(args.source_type)));
      if (args.source_type == KvType::kInt8) {
        std::memcpy(args.destination_scales + 4 * r, &in_scale, 4);
      }
      continue;
    }
    float largest = 0;
    bool finite = true;
    for (int64_t d = 0; d < args.head_dim; ++d) {
      const float value = NaiveElement(args.source_type, in, d, in_scale);
      finite = finite && std::isfinite(value);
      largest = std::max(largest, std::abs(value));
    }
    const bool none = largest < 0x1p-100f;
    for (int64_t d = 0; d < args.head_dim; ++d) {
      const float value = NaiveElement(args.source_type, in, d, in_scale);
      switch (args.destination_type) {
        case KvType::kF32:
          std::memcpy(out + 4 * d, &value, 4);
          break;
        case KvType::kF16: {
          const uint16_t half = F32ToF16(value);
          std::memcpy(out + 2 * d, &half, 2);
          break;
        }
        case KvType::kBF16: {
          const uint16_t half = NaiveBF16(value);
          std::memcpy(out + 2 * d, &half, 2);
          break;
        }
        case KvType::kInt8:
          // The reference's rounding is of value * (127 / largest), to even.
          out[d] = finite ? static_cast<std::byte>(static_cast<int8_t>(
                                std::nearbyint(none ? 0.0f : value * (127.0f / largest))))
                          : std::byte{0};
          break;
      }
    }
    if (args.destination_type == KvType::kInt8) {
      const float scale = !finite ? NAN : none ? 0.0f : largest / 127.0f;
      std::memcpy(args.destination_scales + 4 * r, &scale, 4);
    }
  }
}

}  // namespace baton
