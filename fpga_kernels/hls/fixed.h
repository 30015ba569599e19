#pragma once

// Arithmetic of the kernels, in integers throughout, so that a card gives the bits of the C model.
// A "Qn" number x stands for x * 2^-n.

#include <stdint.h>

namespace baton {
namespace fpga {

// Bits without leading zeros; 0 of 0.
inline int BitLength(uint64_t value) { return value == 0 ? 0 : 64 - __builtin_clzll(value); }

inline uint64_t Magnitude(int64_t value) {
  return value < 0 ? ~static_cast<uint64_t>(value) + 1 : static_cast<uint64_t>(value);
}

// value * 2^-shift, to the nearest, halves upwards; saturates where a left shift would overflow.
inline int64_t ShiftRound(int64_t value, int shift) {
  if (shift >= 64) return 0;
  if (shift > 0) {
    const int64_t half = (value >> (shift - 1)) & 1;
    return (value >> shift) + half;
  }
  if (value == 0) return 0;
  if (BitLength(Magnitude(value)) - shift > 62) {
    return value < 0 ? -(int64_t{1} << 62) : int64_t{1} << 62;
  }
  return static_cast<int64_t>(static_cast<uint64_t>(value) << -shift);
}

inline int64_t Saturate(int64_t value, int64_t limit) {
  return value > limit ? limit : value < -limit ? -limit : value;
}
inline int32_t SaturateI32(int64_t value) {
  return static_cast<int32_t>(Saturate(value, INT32_MAX));
}

// floor(sqrt(value)), digit by digit.
constexpr uint64_t SquareRoot(uint64_t value) {
  uint64_t root = 0;
  for (int bit = 31; bit >= 0; --bit) {
#pragma HLS pipeline II = 1
    const uint64_t next = root | (uint64_t{1} << bit);
    if (next * next <= value) root = next;
  }
  return root;
}

// 2^-(i / 256) and 2^-(i / 65536) in Q30, from repeated square roots of one half.
struct Exp2Tables {
  uint32_t coarse[256];
  uint32_t fine[256];
};
constexpr Exp2Tables MakeExp2Tables() {
  Exp2Tables tables = {};
  uint64_t step[17] = {};  // 2^-(2^-n) in Q31
  step[0] = uint64_t{1} << 30;
  for (int n = 1; n <= 16; ++n) step[n] = SquareRoot(step[n - 1] << 31);
  for (int i = 0; i < 256; ++i) {
    uint64_t coarse = uint64_t{1} << 31;
    uint64_t fine = uint64_t{1} << 31;
    for (int bit = 0; bit < 8; ++bit) {
      if ((i >> bit & 1) == 0) continue;
      coarse = (coarse * step[8 - bit] + (uint64_t{1} << 30)) >> 31;
      fine = (fine * step[16 - bit] + (uint64_t{1} << 30)) >> 31;
    }
    tables.coarse[i] = static_cast<uint32_t>((coarse + 1) >> 1);
    tables.fine[i] = static_cast<uint32_t>((fine + 1) >> 1);
  }
  return tables;
}
constexpr Exp2Tables kExp2Tables = MakeExp2Tables();

// 2^-x in Q30, x in Q16 and at least 0.
inline uint32_t Exp2OfMinus(uint64_t x) {
  const uint64_t whole = x >> 16;
  if (whole > 31) return 0;
  const uint64_t product =
      static_cast<uint64_t>(kExp2Tables.coarse[x >> 8 & 255]) * kExp2Tables.fine[x & 255];  // Q60
  const int shift = 30 + static_cast<int>(whole);
  return static_cast<uint32_t>((product + (uint64_t{1} << (shift - 1))) >> shift);
}

constexpr int64_t kLog2EQ30 = 1549082005;  // log2(e) * 2^30

// 1 / (1 + e^-x) in Q30, x in Q16.
inline int64_t Sigmoid(int32_t x) {
  const uint64_t magnitude = Magnitude(x);                                         // Q16
  const uint64_t exponent = (magnitude * static_cast<uint64_t>(kLog2EQ30)) >> 30;  // Q16
  const uint64_t e = Exp2OfMinus(exponent);                                        // Q30
  const uint64_t of_magnitude = (uint64_t{1} << 60) / ((uint64_t{1} << 30) + e);   // Q30
  return static_cast<int64_t>(x < 0 ? (uint64_t{1} << 30) - of_magnitude : of_magnitude);
}

// The finite f32 of these bits is mantissa * 2^(exponent - 150). Subnormal ones count as zero, the
// sign is not looked at: scales are not negative.
struct FloatParts {
  uint32_t mantissa;  // 0, or from 2^23 to 2^24 - 1
  int exponent;
};
inline FloatParts PartsOfFloat(uint32_t bits) {
  FloatParts parts;
  parts.exponent = static_cast<int>(bits >> 23 & 255);
  parts.mantissa = parts.exponent == 0 ? 0 : (bits & 0x7fffff) | 0x800000;
  return parts;
}

// The bits of the f32 nearest to value * 2^-fraction / divisor. divisor below 2^20.
inline uint32_t FloatBitsOfQuotient(uint32_t value, uint32_t divisor, int fraction) {
  if (value == 0) return 0;
  const uint64_t quotient = (static_cast<uint64_t>(value) << 32) / divisor;
  const int length = BitLength(quotient);
  int64_t mantissa = ShiftRound(static_cast<int64_t>(quotient), length - 24);
  int exponent = length - 24 - 32 - fraction + 150;
  if (mantissa == 1 << 24) {
    mantissa >>= 1;
    ++exponent;
  }
  return static_cast<uint32_t>(exponent) << 23 | (static_cast<uint32_t>(mantissa) & 0x7fffff);
}

}  // namespace fpga
}  // namespace baton
