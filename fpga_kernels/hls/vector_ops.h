#pragma once

// What the vector unit computes, on vectors in its own memory. Plain loops over arrays, so that
// each can be tested by itself.

#include <stdint.h>

#include "fpga_kernels/hls/fixed.h"

namespace baton {
namespace fpga {

// Loops over a whole vector take kVectorLanes of its numbers in a cycle: what their `unroll factor`
// says, and the memories' partitions in vector_unit.cc allow.

// Activations are int16 that share a power of two: q[i] * 2^-shift.
constexpr int kActivationBits = 15;

inline int16_t ActivationOf(int64_t value, int shift) {
  return static_cast<int16_t>(Saturate(ShiftRound(value, shift), INT16_MAX));
}

// activations [count] = values [count] in Q`fraction`, as precise as 15 bits allow. Returns their
// shift.
inline int PackActivations(const int32_t* values, uint32_t count, int fraction,
                           int16_t* activations) {
  uint64_t largest = 0;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    const uint64_t magnitude = Magnitude(values[i]);
    if (magnitude > largest) largest = magnitude;
  }
  const int shift = BitLength(largest) - kActivationBits;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    activations[i] = ActivationOf(values[i], shift);
  }
  return fraction - shift;
}

// activations [count] = x * weights / sqrt(mean(x^2) + epsilon); x Q16, weights Q24, epsilon Q32,
// count at most 16384. Returns the activations' shift. A vector without length gives zeros.
inline int RmsNorm(const int32_t* x, const int32_t* weights, uint32_t count, uint32_t epsilon,
                   int16_t* activations) {
  uint64_t largest = 0;
  uint64_t largest_product = 0;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    const uint64_t magnitude = Magnitude(x[i]);
    const uint64_t product = Magnitude(static_cast<int64_t>(x[i]) * weights[i]);
    if (magnitude > largest) largest = magnitude;
    if (product > largest_product) largest_product = product;
  }
  const int down = BitLength(largest) > 24 ? BitLength(largest) - 24 : 0;
  uint64_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    const int64_t value = ShiftRound(x[i], down);
    sum += static_cast<uint64_t>(value * value);
  }
  // mean = sum / count * 2^(2 down - 32). What follows keeps it at 61 bits.
  int up = 62 - BitLength(sum);
  if (up > 30 + 2 * down) up = 30 + 2 * down;
  uint64_t mean = (sum << up) / (count == 0 ? 1 : count);
  mean += static_cast<uint64_t>(
      ShiftRound(static_cast<int64_t>(static_cast<uint64_t>(epsilon) << 30), 30 + 2 * down - up));
  if (mean == 0) {
    for (uint32_t i = 0; i < count; ++i) activations[i] = 0;
    return 0;
  }
  int exponent = 2 * down - 32 - up;  // mean * 2^exponent
  int more = 63 - BitLength(mean);
  if ((exponent - more) % 2 != 0) --more;
  if (more >= 0) {
    mean <<= more;
  } else {
    mean >>= -more;
  }
  exponent -= more;
  const uint64_t root = SquareRoot(mean);  // at least 2^30
  const uint64_t inverse =
      (uint64_t{1} << 61) / root;  // 1 / rms = inverse * 2^-(61 + exponent / 2)
  const int product_down = BitLength(largest_product) - 30;
  const int64_t largest_scaled = ShiftRound(static_cast<int64_t>(largest_product), product_down) *
                                 static_cast<int64_t>(inverse);
  const int shift = BitLength(static_cast<uint64_t>(largest_scaled)) - kActivationBits;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
#pragma HLS unroll factor = 8
    const int64_t product = ShiftRound(static_cast<int64_t>(x[i]) * weights[i], product_down);
    activations[i] = ActivationOf(product * static_cast<int64_t>(inverse), shift);
  }
  return 40 - product_down + 61 + exponent / 2 - shift;
}

// Turns the first `dims` dimensions of a head, Q16; turns [dims / 2, 2]: cosine and sine, Q29.
// `halves`: (i, i + dims / 2) turn together, else (2i, 2i + 1). Source: Su et al., "RoFormer",
// 2021.
inline void Rope(int32_t* head, const int32_t* turns, uint32_t dims, bool halves) {
  for (uint32_t i = 0; i < dims / 2; ++i) {
#pragma HLS pipeline II = 1
    const uint32_t a = halves ? i : 2 * i;
    const uint32_t b = halves ? i + dims / 2 : 2 * i + 1;
    const int64_t cosine = turns[2 * i];
    const int64_t sine = turns[2 * i + 1];
    // Half of each product, since two of 62 bits add up.
    const int64_t turned_a = (head[a] * cosine >> 1) - (head[b] * sine >> 1);
    const int64_t turned_b = (head[a] * sine >> 1) + (head[b] * cosine >> 1);
    head[a] = SaturateI32(ShiftRound(turned_a, 28));
    head[b] = SaturateI32(ShiftRound(turned_b, 28));
  }
}

// codes [count] and the scale's f32 bits, value = scale * code; values Q16. The scale is the
// largest magnitude / 127, as the host has it. Zeros have scale 0.
inline uint32_t PackKv(const int32_t* values, uint32_t count, int8_t* codes) {
  uint64_t largest = 0;
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
    const uint64_t magnitude = Magnitude(values[i]);
    if (magnitude > largest) largest = magnitude;
  }
  for (uint32_t i = 0; i < count; ++i) {
#pragma HLS pipeline II = 1
    const uint64_t magnitude = Magnitude(values[i]);
    const uint64_t code = largest == 0 ? 0 : (2 * 127 * magnitude + largest) / (2 * largest);
    codes[i] = static_cast<int8_t>(values[i] < 0 ? -static_cast<int64_t>(code)
                                                 : static_cast<int64_t>(code));
  }
  return FloatBitsOfQuotient(static_cast<uint32_t>(largest), 127, 16);
}

// silu(gate) * up, all Q16, saturated.
inline int32_t SwiGlu(int32_t gate, int32_t up) {
  const int64_t silu = ShiftRound(gate * Sigmoid(gate), 30);  // 61 bits before the shift
  return SaturateI32(ShiftRound(silu * up, 16));
}

}  // namespace fpga
}  // namespace baton
