#pragma once

// Quantised weights as the GPU keeps them: GGUF's blocks taken apart into planes whose parts are
// aligned, no larger than the blocks were (Q4_K: by 3 %). What follows is of units, 32 weights of a
// row one behind the other; unit u of row r is number r * cols / 32 + u in each plane.
//   quants: Q8_0: 32 int8. Others: 16 bytes, byte i has weight i in its low, weight 16 + i in its
//     high four bits.
//   high (Q6_K): 8 bytes, bits 4 and 5: byte i % 4 of word i / 16 has weight i's at bit
//     i % 16 / 4 * 2.
//   scales: Q8_0, Q4_0: f16 d. Q4_K: bytes (scale, minimum). Q6_K: int8 scales of its two halves.
//   supers, by 8 units: Q4_K: f16 d, f16 of minimums. Q6_K: f16 d.
// A weight is d * q (Q8_0), d * (q - 8) (Q4_0), d * scale * q - dmin * minimum (Q4_K), and d *
// scale * (q - 32) (Q6_K).

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/launch.h"

namespace baton::cuda {

enum class QuantFormat : int32_t { kQ8_0, kQ4_0, kQ4K, kQ6K };

inline constexpr int kUnitWeights = 32;
inline constexpr int kSuperUnits = 8;

constexpr bool HasSupers(QuantFormat format) {
  return format == QuantFormat::kQ4K || format == QuantFormat::kQ6K;
}
// Columns that a row is a multiple of.
constexpr int64_t QuantColumns(QuantFormat format) {
  return HasSupers(format) ? kSuperUnits * kUnitWeights : kUnitWeights;
}

struct QuantPlanes {
  unsigned char* quants;
  unsigned char* high;
  unsigned char* scales;
  unsigned char* supers;
};
struct QuantShape {
  QuantFormat format;
  int64_t rows;
  int64_t cols;  // a multiple of QuantColumns
};
// The planes within one allocation that is aligned to 16 bytes, as each of them then is.
struct QuantLayout {
  int64_t high;  // bytes from the start; quants are there
  int64_t scales;
  int64_t supers;
  int64_t bytes;
};
constexpr QuantLayout LayOut(const QuantShape& shape) {
  const int64_t units = shape.rows * shape.cols / kUnitWeights;
  const auto piece = [](int64_t bytes) { return CeilDiv(bytes, 16) * 16; };
  QuantLayout layout = {};
  layout.high = piece(units * (shape.format == QuantFormat::kQ8_0 ? 32 : 16));
  layout.scales = layout.high + (shape.format == QuantFormat::kQ6K ? piece(units * 8) : 0);
  layout.supers = layout.scales + piece(units * 2);
  const int64_t supers = HasSupers(shape.format) ? units / kSuperUnits : 0;
  layout.bytes = layout.supers + piece(supers * (shape.format == QuantFormat::kQ4K ? 4 : 2));
  return layout;
}
inline QuantPlanes PlanesOf(const QuantShape& shape, void* memory) {
  const QuantLayout layout = LayOut(shape);
  auto* const bytes = static_cast<unsigned char*>(memory);
  return {bytes, bytes + layout.high, bytes + layout.scales, bytes + layout.supers};
}

}  // namespace baton::cuda
