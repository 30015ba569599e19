#pragma once

#include "engine/exec/cpu/kernels/simd-inl.h"
#include "engine/model/tensor_type.h"

namespace baton::BATON_SIMD_NAMESPACE {

// Columns that are walked at once: a Q8_0 block, so that its scale is read once.
constexpr int64_t kSegment = 32;
static_assert(kSegment == kQ8BlockWeights && kSegment % kLanes == 0);

// The forms of a weight row, as floats. Segment(c) is what all columns of [c, c + kSegment)
// share; Lanes() gives kLanes weights of it; Partial() the first n of a row's last lanes.
struct F32Row {
  struct Shared {};
  const float* p;  // [cols]
  static BATON_INLINE F32Row At(const std::byte* row) {
    return {reinterpret_cast<const float*>(row)};
  }
  BATON_INLINE Shared Segment(int64_t) const { return {}; }
  BATON_INLINE F32 Lanes(Shared, int64_t c) const { return Load(p + c); }
  BATON_INLINE F32 Partial(int64_t c, int64_t n) const { return LoadPartial(p + c, n); }
};

struct F16Row {
  struct Shared {};
  const std::byte* p;  // [cols], f16
  static BATON_INLINE F16Row At(const std::byte* row) { return {row}; }
  BATON_INLINE Shared Segment(int64_t) const { return {}; }
  BATON_INLINE F32 Lanes(Shared, int64_t c) const { return LoadF16(p + 2 * c); }
  BATON_INLINE F32 Partial(int64_t c, int64_t n) const { return LoadF16Partial(p + 2 * c, n); }
};

struct BF16Row {
  struct Shared {};
  const std::byte* p;  // [cols], bf16
  static BATON_INLINE BF16Row At(const std::byte* row) { return {row}; }
  BATON_INLINE Shared Segment(int64_t) const { return {}; }
  BATON_INLINE F32 Lanes(Shared, int64_t c) const { return LoadBF16(p + 2 * c); }
  BATON_INLINE F32 Partial(int64_t c, int64_t n) const { return LoadBF16Partial(p + 2 * c, n); }
};

struct Q8Row {
  struct Shared {
    F32 scale;
    const int8_t* quants;  // [kSegment]
    int64_t begin;         // column of quants[0]
  };
  const std::byte* p;  // [cols / 32], BlockQ8
  static BATON_INLINE Q8Row At(const std::byte* row) { return {row}; }
  BATON_INLINE Shared Segment(int64_t c) const {
    const std::byte* block = p + c / kSegment * int64_t{sizeof(BlockQ8)};
    return {Broadcast(LoadF16Scalar(block)),
            reinterpret_cast<const int8_t*>(block + sizeof(uint16_t)), c};
  }
  BATON_INLINE F32 Lanes(const Shared& segment, int64_t c) const {
    return segment.scale * LoadI8(segment.quants + (c - segment.begin));
  }
  BATON_INLINE F32 Partial(int64_t, int64_t) const { return F32{}; }  // rows are whole blocks
};

#if defined(__AVX512F__)
// Lanes of two vectors side by side, halves (or halves of halves) onto each other, as Sum() adds
// them.
static BATON_INLINE F32 FoldHalves(F32 a, F32 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
         __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30,
                                 31);
}
static BATON_INLINE F32 FoldQuarters(F32 a, F32 b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}
static BATON_INLINE F32 FoldPairs(F32 a, F32 b) {
  return __builtin_shufflevector(a, b, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29) +
         __builtin_shufflevector(a, b, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
}
static BATON_INLINE F32 FoldLanes(F32 a, F32 b) {
  return __builtin_shufflevector(a, b, 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31);
}

// out[t][r] = Sum(sums[t][r]), to the bit, sixteen at once.
static BATON_INLINE void SumTile(const F32 (&sums)[4][4], float (&out)[4][4]) {
  F32 quarters[4];
#pragma GCC unroll 4
  for (int r = 0; r < 4; ++r) {
    quarters[r] =
        FoldQuarters(FoldHalves(sums[0][r], sums[1][r]), FoldHalves(sums[2][r], sums[3][r]));
  }
  Store(FoldLanes(FoldPairs(quarters[0], quarters[1]), FoldPairs(quarters[2], quarters[3])),
        &out[0][0]);
}
#endif

// sums[t][r] = x[t] . w[r] as vectors whose lanes make up the sum, for kTokens rows of x and kRows
// weight rows. One vector of partial sums per element, filled in the order of the columns, so that
// the element's value does not depend on the tile's shape.
template <class Row, int kTokens, int kRows>
static BATON_INLINE void DotVectors(const Row (&w)[kRows], const float* x, int64_t x_stride,
                                    int64_t cols, F32 (&sums)[kTokens][kRows]) {
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) sums[t][r] = F32{};
  }
  int64_t c = 0;
  const auto accumulate = [&](const F32(&weights)[kRows], const auto& load_x) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const F32 xs = load_x(x + t * x_stride);
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) sums[t][r] = MulAdd(xs, weights[r], sums[t][r]);
    }
  };
  for (; c + kSegment <= cols; c += kSegment) {
    typename Row::Shared shared[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) shared[r] = w[r].Segment(c);
#pragma GCC unroll 8
    for (int64_t i = c; i < c + kSegment; i += kLanes) {
      F32 weights[kRows];
#pragma GCC unroll 8
      for (int r = 0; r < kRows; ++r) weights[r] = w[r].Lanes(shared[r], i);
      accumulate(weights, [i](const float* row) { return Load(row + i); });
    }
  }
  // Fewer than kSegment columns are left; none of a Q8_0 row.
  for (; c + kLanes <= cols; c += kLanes) {
    F32 weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = w[r].Lanes(typename Row::Shared{}, c);
    accumulate(weights, [c](const float* row) { return Load(row + c); });
  }
  if (c < cols) {
    F32 weights[kRows];
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) weights[r] = w[r].Partial(c, cols - c);
    accumulate(weights, [c, cols](const float* row) { return LoadPartial(row + c, cols - c); });
  }
}

// A register tile: out[t][r] = x[t] . w[r].
template <class Row, int kTokens, int kRows>
static BATON_INLINE void DotTile(const Row (&w)[kRows], const float* x, int64_t x_stride,
                                 int64_t cols, float (&out)[kTokens][kRows]) {
  F32 sums[kTokens][kRows];
  DotVectors(w, x, x_stride, cols, sums);
#if defined(__AVX512F__)
  if constexpr (kTokens == 4 && kRows == 4) return SumTile(sums, out);
#endif
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) out[t][r] = Sum(sums[t][r]);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
