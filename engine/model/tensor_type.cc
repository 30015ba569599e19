#include "engine/model/tensor_type.h"

#include <array>
#include <bit>
#include <cstring>

#include "engine/base/check.h"

namespace baton {
namespace {

// ---- The blocks, as the GGUF specification's reference (ggml's quantisation formats) lays them
// ---- out; bytes are little-endian, d and m are f16, and weights are in the row's order.

float ReadF16(const std::byte* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return F16ToF32(half);
}

int Byte(const std::byte* p) { return std::to_integer<int>(*p); }

void ExpandF32(const std::byte* block, float* out) { std::memcpy(out, block, sizeof(float)); }

void ExpandF16(const std::byte* block, float* out) { *out = ReadF16(block); }

// The upper half of an f32.
void ExpandBF16(const std::byte* block, float* out) {
  uint16_t half;
  std::memcpy(&half, block, sizeof(half));
  *out = std::bit_cast<float>(uint32_t{half} << 16);
}

void ExpandQ8_0(const std::byte* block, float* out) {
  BlockQ8 q;
  std::memcpy(&q, block, sizeof(q));
  const float d = F16ToF32(q.scale_f16);
  for (int i = 0; i < kQ8BlockWeights; ++i) out[i] = d * static_cast<float>(q.quants[i]);
}

// Half a byte each of 16: weights i (low) and i + 16 (high). The fifth bits, where there are some:
// bit i of a 32-bit word.
void ExpandNibbles(const std::byte* nibbles, uint32_t fifth_bits, float scale, float offset,
                   float* out) {
  for (int i = 0; i < 32; ++i) {
    const int byte = Byte(nibbles + i % 16);
    const int low = i < 16 ? byte & 15 : byte >> 4;
    const int q = low | static_cast<int>(fifth_bits >> i & 1) << 4;
    out[i] = scale * static_cast<float>(q) + offset;
  }
}

uint32_t ReadU32(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// d; nibbles[16]. weight = d * (q - 8)
void ExpandQ4_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  ExpandNibbles(block + 2, 0, d, -8 * d, out);
}

// d, m; nibbles[16]. weight = d * q + m
void ExpandQ4_1(const std::byte* block, float* out) {
  ExpandNibbles(block + 4, 0, ReadF16(block), ReadF16(block + 2), out);
}

// d; fifth bits; nibbles[16]. weight = d * (q - 16)
void ExpandQ5_0(const std::byte* block, float* out) {
  const float d = ReadF16(block);
  ExpandNibbles(block + 6, ReadU32(block + 2), d, -16 * d, out);
}

// d, m; fifth bits; nibbles[16]. weight = d * q + m
void ExpandQ5_1(const std::byte* block, float* out) {
  ExpandNibbles(block + 8, ReadU32(block + 4), ReadF16(block), ReadF16(block + 2), out);
}

// The 6-bit scale and minimum of sub-block j of 8, packed in 12 bytes: those of the first four in
// the low bits of bytes 0 to 3 and 4 to 7; of the others the low four bits in bytes 8 to 11, the
// upper two above the first four's.
struct ScaleMin {
  int scale;
  int min;
};
ScaleMin ReadScaleMin(const std::byte* packed, int j) {
  if (j < 4) return {Byte(packed + j) & 63, Byte(packed + j + 4) & 63};
  const int low = Byte(packed + j + 4);
  return {(low & 15) | Byte(packed + j - 4) >> 6 << 4, low >> 4 | Byte(packed + j) >> 6 << 4};
}

// d, dmin; scales and minimums of 8 sub-blocks of 32, 12 bytes; for Q5_K, 32 bytes of fifth bits:
// bit j of byte i is of weight i of sub-block j; nibbles[128], 32 bytes for each two sub-blocks.
// weight = d * scale * q - dmin * min
void ExpandQ45K(const std::byte* block, const std::byte* fifth_bits, const std::byte* nibbles,
                float* out) {
  const float d = ReadF16(block);
  const float dmin = ReadF16(block + 2);
  for (int j = 0; j < 8; ++j) {
    const ScaleMin s = ReadScaleMin(block + 4, j);
    const float scale = d * static_cast<float>(s.scale);
    const float min = dmin * static_cast<float>(s.min);
    for (int i = 0; i < 32; ++i) {
      const int byte = Byte(nibbles + j / 2 * 32 + i);
      int q = j % 2 == 0 ? byte & 15 : byte >> 4;
      if (fifth_bits != nullptr) q |= (Byte(fifth_bits + i) >> j & 1) << 4;
      out[j * 32 + i] = scale * static_cast<float>(q) - min;
    }
  }
}
void ExpandQ4K(const std::byte* block, float* out) { ExpandQ45K(block, nullptr, block + 16, out); }
void ExpandQ5K(const std::byte* block, float* out) {
  ExpandQ45K(block, block + 16, block + 48, out);
}

// nibbles[128], upper bit pairs[64], int8 scales[16], d. Two halves of 128 weights; in each, byte l
// of 64 holds in its low nibble weight l and in its high one weight l + 64, and byte l of 32 the
// bit pairs of weights l, l + 32, l + 64 and l + 96, lowest first. Each 16 weights have a scale.
// weight = d * scale * (q - 32)
void ExpandQ6K(const std::byte* block, float* out) {
  const float d = ReadF16(block + 208);
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int at = i % 128;
    const int byte = Byte(block + half * 64 + at % 64);
    const int pairs = Byte(block + 128 + half * 32 + at % 32);
    const int q = (at < 64 ? byte & 15 : byte >> 4) | (pairs >> (at / 32 * 2) & 3) << 4;
    const auto scale = static_cast<int8_t>(Byte(block + 192 + i / 16));
    out[i] = d * static_cast<float>(scale) * static_cast<float>(q - 32);
  }
}

struct Format {
  TensorType type;
  std::string_view name;
  int64_t block_weights;
  int64_t block_bytes;
  int scale_count;
  std::array<int, 2> scale_offsets;
  void (*expand)(const std::byte* block, float* out);
};

constexpr Format kFormats[] = {
    {TensorType::kF32, "F32", 1, 4, 0, {}, ExpandF32},
    {TensorType::kF16, "F16", 1, 2, 0, {}, ExpandF16},
    {TensorType::kBF16, "BF16", 1, 2, 0, {}, ExpandBF16},
    {TensorType::kQ4_0, "Q4_0", 32, 18, 1, {0}, ExpandQ4_0},
    {TensorType::kQ4_1, "Q4_1", 32, 20, 2, {0, 2}, ExpandQ4_1},
    {TensorType::kQ5_0, "Q5_0", 32, 22, 1, {0}, ExpandQ5_0},
    {TensorType::kQ5_1, "Q5_1", 32, 24, 2, {0, 2}, ExpandQ5_1},
    {TensorType::kQ8_0, "Q8_0", 32, 34, 1, {0}, ExpandQ8_0},
    {TensorType::kQ4K, "Q4_K", 256, 144, 2, {0, 2}, ExpandQ4K},
    {TensorType::kQ5K, "Q5_K", 256, 176, 2, {0, 2}, ExpandQ5K},
    {TensorType::kQ6K, "Q6_K", 256, 210, 1, {208}, ExpandQ6K},
};

const Format* FindFormat(TensorType type) {
  for (const Format& format : kFormats) {
    if (format.type == type) return &format;
  }
  return nullptr;
}

const Format& FormatOf(TensorType type) {
  const Format* const format = FindFormat(type);
  BATON_CHECK(format != nullptr);
  return *format;
}

}  // namespace

std::span<const TensorType> TensorTypes() {
  static constexpr auto kTypes = [] {
    std::array<TensorType, std::size(kFormats)> types{};
    for (size_t i = 0; i < types.size(); ++i) types[i] = kFormats[i].type;
    return types;
  }();
  return kTypes;
}

std::optional<TensorType> TensorTypeOf(uint32_t gguf_type) {
  const auto type = static_cast<TensorType>(gguf_type);
  if (FindFormat(type) == nullptr) return std::nullopt;
  return type;
}

std::string_view Name(TensorType type) { return FormatOf(type).name; }

int64_t BlockWeights(TensorType type) { return FormatOf(type).block_weights; }

int64_t RowBytes(TensorType type, int64_t cols) {
  const Format& format = FormatOf(type);
  BATON_DCHECK(cols % format.block_weights == 0);
  return cols / format.block_weights * format.block_bytes;
}

std::span<const int> ScaleOffsets(TensorType type) {
  const Format& format = FormatOf(type);
  return {format.scale_offsets.data(), static_cast<size_t>(format.scale_count)};
}

void DequantizeRow(TensorType type, const std::byte* src, int64_t cols, float* dst) {
  if (type == TensorType::kF32) {
    std::memcpy(dst, src, static_cast<size_t>(cols) * sizeof(float));
    return;
  }
  const Format& format = FormatOf(type);
  for (int64_t i = 0; i < cols; i += format.block_weights, src += format.block_bytes) {
    format.expand(src, dst + i);
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
