#pragma once

// Rows of a KV block beside those of dot-inl.h, and how a row of each type is written.

#include "engine/exec/cpu/kernels/dot-inl.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// One position's int8 elements, without their scale: that multiplies what comes of the whole
// vector, once.
struct I8Row {
  struct Shared {};
  const std::byte* p;  // [head_dim], int8
  static BATON_INLINE I8Row At(const std::byte* row) { return {row}; }
  BATON_INLINE Shared Segment(int64_t) const { return {}; }
  BATON_INLINE F32 Lanes(Shared, int64_t c) const {
    return LoadI8(reinterpret_cast<const int8_t*>(p + c));
  }
  BATON_INLINE F32 Partial(int64_t c, int64_t n) const { return LoadI8Partial(p + c, n); }
};

struct F32Out {
  static constexpr int64_t kBytes = 4;
  static BATON_INLINE void Whole(F32 v, std::byte* p) { __builtin_memcpy(p, &v, sizeof(v)); }
  static BATON_INLINE void Partial(F32 v, std::byte* p, int64_t n) {
    __builtin_memcpy(p, &v, static_cast<size_t>(n) * 4);
  }
};
struct F16Out {
  static constexpr int64_t kBytes = 2;
  static BATON_INLINE void Whole(F32 v, std::byte* p) { StoreF16(v, p); }
  static BATON_INLINE void Partial(F32 v, std::byte* p, int64_t n) { StoreF16Partial(v, p, n); }
};
struct BF16Out {
  static constexpr int64_t kBytes = 2;
  static BATON_INLINE void Whole(F32 v, std::byte* p) { StoreBF16(v, p); }
  static BATON_INLINE void Partial(F32 v, std::byte* p, int64_t n) { StoreBF16Partial(v, p, n); }
};

// out[i] = factor * row[i], rounded to the nearest of Out's type.
template <class Out, class Row>
static BATON_INLINE void StoreRow(const Row& row, F32 factor, int64_t count, std::byte* out) {
  int64_t d = 0;
  for (; d + kLanes <= count; d += kLanes) {
    Out::Whole(factor * row.Lanes({}, d), out + Out::kBytes * d);
  }
  if (d < count) {
    Out::Partial(factor * row.Partial(d, count - d), out + Out::kBytes * d, count - d);
  }
}

// The largest lane of what has no negative one.
static BATON_INLINE int32_t MaxLane(I32 v) {
#if defined(__AVX512F__)
  return _mm512_reduce_max_epi32(reinterpret_cast<__m512i>(v));
#else
  int32_t largest = 0;
  for (int64_t i = 0; i < kLanes; ++i) largest = v[i] > largest ? v[i] : largest;
  return largest;
#endif
}

// Returns the scale; NaN where an element is not finite.
template <class Row>
static BATON_INLINE float StoreRowInt8(const Row& row, int64_t count, std::byte* out) {
  // Magnitudes are ordered as their bits are, with infinity and NaN above all others.
  I32 bits = {};
  int64_t d = 0;
  const auto look = [&](F32 v) {
    const I32 magnitude = reinterpret_cast<I32>(Abs(v));
    bits = magnitude > bits ? magnitude : bits;
  };
  for (; d + kLanes <= count; d += kLanes) look(row.Lanes({}, d));
  if (d < count) look(row.Partial(d, count - d));
  const int32_t largest = MaxLane(bits);
  const bool finite = largest < 0x7f800000;
  float maximum;
  __builtin_memcpy(&maximum, &largest, sizeof(maximum));
  // Below it, 127 / maximum would not be a float; such a vector is as good as none.
  const bool none = maximum < 0x1p-100f;
  const float inverse = none || !finite ? 0.0f : 127.0f / maximum;
  for (d = 0; d + kLanes <= count; d += kLanes) {
    StoreI8(Round(row.Lanes({}, d) * inverse), out + d);
  }
  if (d < count) {
    StoreI8Partial(Round(row.Partial(d, count - d) * inverse), out + d, count - d);
  }
  return !finite ? __builtin_nanf("") : none ? 0.0f : maximum / 127.0f;
}

}  // namespace baton::BATON_SIMD_NAMESPACE
