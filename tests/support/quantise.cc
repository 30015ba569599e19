#include "tests/support/quantise.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <span>

#include "engine/base/check.h"

namespace baton {
namespace {

template <class T>
void Put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

float Rounded(float half_rounded) { return F16ToF32(F32ToF16(half_rounded)); }

// round(x / scale), clamped; 0 where the scale is.
int Quant(float x, float scale, int low, int high) {
  if (scale == 0) return std::clamp(0, low, high);
  return std::clamp(static_cast<int>(std::round(x / scale)), low, high);
}

float LargestMagnitude(std::span<const float> x) {
  float largest = 0;
  for (const float value : x) largest = std::max(largest, std::abs(value));
  return largest;
}

void PutQ8_0(std::string& out, std::span<const float> x) {
  const float d = LargestMagnitude(x) / 127;
  Put(out, F32ToF16(d));
  for (const float value : x) {
    Put(out, static_cast<int8_t>(d == 0 ? 0 : std::round(value / d)));
  }
}

// Q4_0 and Q5_0 (no minimum), Q4_1 and Q5_1.
void PutSmall(std::string& out, std::span<const float> x, int bits, bool with_min) {
  const int levels = 1 << bits;
  float d;
  float m;
  Put(out, F32ToF16(0));
  if (with_min) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    d = Rounded((*high - *low) / static_cast<float>(levels - 1));
    m = Rounded(*low);
    Put(out, F32ToF16(m));
  } else {
    d = Rounded(LargestMagnitude(x) / static_cast<float>(levels / 2 - 1));
    m = -d * static_cast<float>(levels / 2);
  }
  const uint16_t d_half = F32ToF16(d);
  std::memcpy(out.data() + out.size() - (with_min ? 4 : 2), &d_half, sizeof(d_half));
  uint32_t fifth = 0;
  std::array<uint8_t, 16> nibbles{};
  for (size_t i = 0; i < 32; ++i) {
    const int q = Quant(x[i] - m, d, 0, levels - 1);
    fifth |= static_cast<uint32_t>(q >> 4) << i;
    nibbles[i % 16] = static_cast<uint8_t>(nibbles[i % 16] | (q & 15) << (i < 16 ? 0 : 4));
  }
  if (bits == 5) Put(out, fifth);
  Put(out, nibbles);
}

// Q4_K and Q5_K.
void PutWithMinK(std::string& out, std::span<const float> x, int bits) {
  const int levels = 1 << bits;
  std::array<float, 8> scales;
  std::array<float, 8> mins;
  for (size_t j = 0; j < 8; ++j) {
    const auto part = x.subspan(j * 32, 32);
    const auto [low, high] = std::minmax_element(part.begin(), part.end());
    mins[j] = std::max(0.0f, -*low);
    scales[j] = (*high + mins[j]) / static_cast<float>(levels - 1);
  }
  const float d = Rounded(LargestMagnitude(scales) / 63);
  const float dmin = Rounded(LargestMagnitude(mins) / 63);
  Put(out, F32ToF16(d));
  Put(out, F32ToF16(dmin));
  std::array<uint8_t, 12> packed{};
  std::array<uint8_t, 32> fifth{};
  std::array<uint8_t, 128> nibbles{};
  for (size_t j = 0; j < 8; ++j) {
    const int scale = Quant(scales[j], d, 0, 63);
    const int min = Quant(mins[j], dmin, 0, 63);
    if (j < 4) {
      packed[j] = static_cast<uint8_t>(packed[j] | scale);
      packed[j + 4] = static_cast<uint8_t>(packed[j + 4] | min);
    } else {
      packed[j + 4] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
      packed[j - 4] = static_cast<uint8_t>(packed[j - 4] | scale >> 4 << 6);
      packed[j] = static_cast<uint8_t>(packed[j] | min >> 4 << 6);
    }
    for (size_t i = 0; i < 32; ++i) {
      const float offset = dmin * static_cast<float>(min);
      const int q = Quant(x[j * 32 + i] + offset, d * static_cast<float>(scale), 0, levels - 1);
      uint8_t& byte = nibbles[j / 2 * 32 + i];
      byte = static_cast<uint8_t>(byte | (q & 15) << (j % 2 * 4));
      fifth[i] = static_cast<uint8_t>(fifth[i] | q >> 4 << j);
    }
  }
  Put(out, packed);
  if (bits == 5) Put(out, fifth);
  Put(out, nibbles);
}

void PutQ6K(std::string& out, std::span<const float> x) {
  std::array<float, 16> scales;
  for (size_t j = 0; j < 16; ++j) scales[j] = LargestMagnitude(x.subspan(j * 16, 16)) / 31;
  const float d = Rounded(LargestMagnitude(scales) / 127);
  std::array<int8_t, 16> quantised;
  for (size_t j = 0; j < 16; ++j) quantised[j] = static_cast<int8_t>(Quant(scales[j], d, 0, 127));
  std::array<uint8_t, 128> nibbles{};
  std::array<uint8_t, 64> pairs{};
  for (size_t i = 0; i < 256; ++i) {
    const size_t half = i / 128;
    const size_t at = i % 128;
    const int q = Quant(x[i], d * static_cast<float>(quantised[i / 16]), -32, 31) + 32;
    uint8_t& byte = nibbles[half * 64 + at % 64];
    byte = static_cast<uint8_t>(byte | (q & 15) << (at < 64 ? 0 : 4));
    uint8_t& pair = pairs[half * 32 + at % 32];
    pair = static_cast<uint8_t>(pair | q >> 4 << (at / 32 * 2));
  }
  Put(out, nibbles);
  Put(out, pairs);
  Put(out, quantised);
  Put(out, F32ToF16(d));
}

void PutBlock(std::string& out, TensorType type, std::span<const float> x) {
  switch (type) {
    case TensorType::kF32:
      return Put(out, x[0]);
    case TensorType::kF16:
      return Put(out, F32ToF16(x[0]));
    case TensorType::kBF16: {  // to nearest, ties to even
      const auto bits = std::bit_cast<uint32_t>(x[0]);
      return Put(out, static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
    }
    case TensorType::kQ4_0:
      return PutSmall(out, x, 4, false);
    case TensorType::kQ4_1:
      return PutSmall(out, x, 4, true);
    case TensorType::kQ5_0:
      return PutSmall(out, x, 5, false);
    case TensorType::kQ5_1:
      return PutSmall(out, x, 5, true);
    case TensorType::kQ8_0:
      return PutQ8_0(out, x);
    case TensorType::kQ4K:
      return PutWithMinK(out, x, 4);
    case TensorType::kQ5K:
      return PutWithMinK(out, x, 5);
    case TensorType::kQ6K:
      return PutQ6K(out, x);
  }
}

}  // namespace

uint16_t F32ToF16(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000u);
  const uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) {
    return sign | 0x7e00u;  // NaN
  }
  if (magnitude >= 0x477ff000u) {
    return sign | 0x7c00u;  // 65520 and above round to infinity
  }
  if (magnitude < 0x38800000u) {
    // A denormal: the f32 adder rounds to multiples of 2^-24 for us.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000u);
  }
  const uint32_t rounded = magnitude + 0xfffu + (magnitude >> 13 & 1u);
  return sign | static_cast<uint16_t>((rounded - 0x38000000u) >> 13);
}

std::string EncodeWeights(TensorType type, const std::vector<float>& weights) {
  const auto block = static_cast<size_t>(BlockWeights(type));
  BATON_CHECK(weights.size() % block == 0);
  std::string out;
  for (size_t i = 0; i < weights.size(); i += block) {
    PutBlock(out, type, std::span(weights).subspan(i, block));
  }
  return out;
}

}  // namespace baton
