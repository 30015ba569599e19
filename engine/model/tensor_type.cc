#include "engine/model/tensor_type.h"

#include <array>
#include <bit>
#include <cstring>

#include "engine/base/check.h"

namespace baton {
namespace {

// ---- The blocks, as the GGUF specification's reference (ggml's quantisation formats) lays them
// ---- out; bytes are little-endian, d and m are f16, and weights are in the row's order.

uint16_t ReadHalf(const std::byte* p) {
  uint16_t half;
  std::memcpy(&half, p, sizeof(half));
  return half;
}

float ReadF16(const std::byte* p) { return F16ToF32(ReadHalf(p)); }

uint8_t Byte(const std::byte* p) { return std::to_integer<uint8_t>(*p); }

// The upper half of an f32.
float ReadBF16(const std::byte* p) { return std::bit_cast<float>(uint32_t{ReadHalf(p)} << 16); }

void UnpackQ8_0(const std::byte* block, QuantBlock& out) {
  for (int i = 0; i < 32; ++i) out.quants[i] = Byte(block + 2 + i) ^ 0x80;
}

// Half a byte each of 16: weights i (low) and i + 16 (high). The fifth bits, where there are some:
// bit i of a 32-bit word.
void UnpackNibbles(const std::byte* nibbles, uint32_t fifth_bits, QuantBlock& out) {
  for (int i = 0; i < 32; ++i) {
    const int byte = Byte(nibbles + i % 16);
    const int low = i < 16 ? byte & 15 : byte >> 4;
    out.quants[i] = static_cast<uint8_t>(low | static_cast<int>(fifth_bits >> i & 1) << 4);
  }
}

uint32_t ReadU32(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// d; nibbles[16]
void UnpackQ4_0(const std::byte* block, QuantBlock& out) { UnpackNibbles(block + 2, 0, out); }
// d, m; nibbles[16]
void UnpackQ4_1(const std::byte* block, QuantBlock& out) { UnpackNibbles(block + 4, 0, out); }
// d; fifth bits; nibbles[16]
void UnpackQ5_0(const std::byte* block, QuantBlock& out) {
  UnpackNibbles(block + 6, ReadU32(block + 2), out);
}
// d, m; fifth bits; nibbles[16]
void UnpackQ5_1(const std::byte* block, QuantBlock& out) {
  UnpackNibbles(block + 8, ReadU32(block + 4), out);
}

// The 6-bit scales and minimums of 8 sub-blocks, packed in 12 bytes: those of the first four in the
// low bits of bytes 0 to 3 and 4 to 7; of the others the low four bits in bytes 8 to 11, the upper
// two above the first four's.
void UnpackScalesMins(const std::byte* packed, QuantBlock& out) {
  for (int j = 0; j < 4; ++j) {
    const int scale = Byte(packed + j);
    const int min = Byte(packed + j + 4);
    const int low = Byte(packed + j + 8);
    out.scales[j] = static_cast<int8_t>(scale & 63);
    out.mins[j] = static_cast<uint8_t>(min & 63);
    out.scales[j + 4] = static_cast<int8_t>((low & 15) | scale >> 6 << 4);
    out.mins[j + 4] = static_cast<uint8_t>(low >> 4 | min >> 6 << 4);
  }
}

// d, m; scales and minimums of 8 sub-blocks of 32, 12 bytes; for Q5_K, 32 bytes of fifth bits:
// bit j of byte i is of weight i of sub-block j; nibbles[128], 32 bytes for each two sub-blocks.
void UnpackQ45K(const std::byte* block, const std::byte* fifth_bits, const std::byte* nibbles,
                QuantBlock& out) {
  UnpackScalesMins(block + 4, out);
  for (int j = 0; j < 8; ++j) {
    for (int i = 0; i < 32; ++i) {
      const int byte = Byte(nibbles + j / 2 * 32 + i);
      int q = j % 2 == 0 ? byte & 15 : byte >> 4;
      if (fifth_bits != nullptr) q |= (Byte(fifth_bits + i) >> j & 1) << 4;
      out.quants[j * 32 + i] = static_cast<uint8_t>(q);
    }
  }
}
void UnpackQ4K(const std::byte* block, QuantBlock& out) {
  UnpackQ45K(block, nullptr, block + 16, out);
}
void UnpackQ5K(const std::byte* block, QuantBlock& out) {
  UnpackQ45K(block, block + 16, block + 48, out);
}

// nibbles[128], upper bit pairs[64], int8 scales[16], d. Two halves of 128 weights; in each, byte l
// of 64 holds in its low nibble weight l and in its high one weight l + 64, and byte l of 32 the
// bit pairs of weights l, l + 32, l + 64 and l + 96, lowest first. Each 16 weights have a scale.
void UnpackQ6K(const std::byte* block, QuantBlock& out) {
  for (int i = 0; i < 256; ++i) {
    const int half = i / 128;
    const int at = i % 128;
    const int byte = Byte(block + half * 64 + at % 64);
    const int pairs = Byte(block + 128 + half * 32 + at % 32);
    out.quants[i] =
        static_cast<uint8_t>((at < 64 ? byte & 15 : byte >> 4) | (pairs >> (at / 32 * 2) & 3) << 4);
  }
  for (int j = 0; j < 16; ++j) out.scales[j] = static_cast<int8_t>(Byte(block + 192 + j));
}

struct Format {
  TensorType type;
  std::string_view name;
  int64_t block_weights;
  int64_t block_bytes;
  // Of quantised types.
  int scale_count = 0;                    // d; d and m
  std::array<int, 2> scale_offsets = {};  // in bytes
  int quant_offset = 0;
  int sub_weights = 0;  // of a sub-block
  int min_sign = 0;     // of m in the formula of QuantBlock
  void (*unpack)(const std::byte* block, QuantBlock& out) = nullptr;
};

constexpr Format kFormats[] = {
    {TensorType::kF32, "F32", 1, 4},
    {TensorType::kF16, "F16", 1, 2},
    {TensorType::kBF16, "BF16", 1, 2},
    {TensorType::kQ4_0, "Q4_0", 32, 18, 1, {0}, 8, 32, 0, UnpackQ4_0},
    {TensorType::kQ4_1, "Q4_1", 32, 20, 2, {0, 2}, 0, 32, 1, UnpackQ4_1},
    {TensorType::kQ5_0, "Q5_0", 32, 22, 1, {0}, 16, 32, 0, UnpackQ5_0},
    {TensorType::kQ5_1, "Q5_1", 32, 24, 2, {0, 2}, 0, 32, 1, UnpackQ5_1},
    {TensorType::kQ8_0, "Q8_0", 32, 34, 1, {0}, 128, 32, 0, UnpackQ8_0},
    {TensorType::kQ4K, "Q4_K", 256, 144, 2, {0, 2}, 0, 32, -1, UnpackQ4K},
    {TensorType::kQ5K, "Q5_K", 256, 176, 2, {0, 2}, 0, 32, -1, UnpackQ5K},
    {TensorType::kQ6K, "Q6_K", 256, 210, 1, {208}, 32, 16, 0, UnpackQ6K},
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

QuantBlock UnpackBlock(TensorType type, const std::byte* block) {
  const Format& format = FormatOf(type);
  BATON_DCHECK(format.unpack != nullptr);
  QuantBlock out;
  out.offset = format.quant_offset;
  out.sub_weights = format.sub_weights;
  out.min_sign = format.min_sign;
  out.scale_f16 = ReadHalf(block + format.scale_offsets[0]);
  if (format.scale_count == 2) out.min_f16 = ReadHalf(block + format.scale_offsets[1]);
  out.scales.fill(1);
  out.mins.fill(1);
  format.unpack(block, out);
  return out;
}

void DequantizeRow(TensorType type, const std::byte* src, int64_t cols, float* dst) {
  switch (type) {
    case TensorType::kF32:
      std::memcpy(dst, src, static_cast<size_t>(cols) * sizeof(float));
      return;
    case TensorType::kF16:
      for (int64_t i = 0; i < cols; ++i) dst[i] = ReadF16(src + 2 * i);
      return;
    case TensorType::kBF16:
      for (int64_t i = 0; i < cols; ++i) dst[i] = ReadBF16(src + 2 * i);
      return;
    default:
      break;
  }
  const Format& format = FormatOf(type);
  for (int64_t first = 0; first < cols; first += format.block_weights, src += format.block_bytes) {
    const QuantBlock block = UnpackBlock(type, src);
    const float d = F16ToF32(block.scale_f16);
    const float m = static_cast<float>(block.min_sign) * F16ToF32(block.min_f16);
    for (int64_t i = 0; i < format.block_weights; ++i) {
      const auto j = static_cast<size_t>(i / block.sub_weights);
      const float scale = d * static_cast<float>(block.scales[j]);
      const float min = block.min_sign == 0 ? 0 : m * static_cast<float>(block.mins[j]);
      const int q = block.quants[static_cast<size_t>(i)] - block.offset;
      dst[first + i] = scale * static_cast<float>(q) + min;
    }
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
