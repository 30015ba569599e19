#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

#if defined(__AVX512VNNI__)

namespace baton::BATON_SIMD_NAMESPACE {

// Tokens that meet a panel's block together: their sums, integer and float, fill half of the 32
// registers, and the block is read once for all of them.
constexpr int kPackedTokens = 8;

// Activations of one tile's tokens, from the first one on.
struct PackedTile {
  const int8_t* q;
  const float* scales;
  const int32_t* sums_16;
  const int32_t* sums_32;
  int64_t cols;
};

static BATON_INLINE __m512i Broadcast4(const int8_t* q) {
  int32_t four;
  __builtin_memcpy(&four, q, sizeof(four));
  return _mm512_set1_epi32(four);
}

static BATON_INLINE __m512 HalfScales(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

static BATON_INLINE __m512 ByteScales(const std::byte* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

static BATON_INLINE __m512i LoadQuants(const std::byte* p) { return _mm512_loadu_si512(p); }

// sums[t] += 32 columns of whole bytes at p by the activations at column c.
template <int kTokens>
static BATON_INLINE void Dot32Bytes(const std::byte* p, const PackedTile& x, int64_t c,
                                    __m512i (&sums)[kTokens]) {
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    const __m512i w = LoadQuants(p + g * 64);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      sums[t] = _mm512_dpbusd_epi32(sums[t], w, Broadcast4(x.q + t * x.cols + c + g * 4));
    }
  }
}

template <int kTokens>
static BATON_INLINE void Dot32Nibbles(const std::byte* p, const PackedTile& x, int64_t c,
                                      __m512i (&sums)[kTokens]) {
  const __m512i low_mask = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m512i both = LoadQuants(p + g * 64);
    const __m512i low = _mm512_and_si512(both, low_mask);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* const q = x.q + t * x.cols + c + g * 4;
      sums[t] = _mm512_dpbusd_epi32(sums[t], low, Broadcast4(q));
      sums[t] = _mm512_dpbusd_epi32(sums[t], high, Broadcast4(q + 16));
    }
  }
}

// The upper bit pair of 16 columns, in the place that the lower four bits leave: bits 4 and 5.
template <int kSixteenth>
static BATON_INLINE __m512i UpperPairs(__m512i pairs) {
  const __m512i mask = _mm512_set1_epi8(0x30);
  if constexpr (kSixteenth == 0) return _mm512_and_si512(_mm512_slli_epi16(pairs, 4), mask);
  if constexpr (kSixteenth == 1) return _mm512_and_si512(_mm512_slli_epi16(pairs, 2), mask);
  if constexpr (kSixteenth == 2) return _mm512_and_si512(pairs, mask);
  return _mm512_and_si512(_mm512_srli_epi16(pairs, 2), mask);
}

// Adds block b of a panel to the sums of the tile's tokens.
template <PackedKind kKind>
struct PackedBlock;

// One scale for 32 columns, and an offset that all weights share.
template <PackedKind kKind>
struct SimpleBlock {
  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    constexpr bool kBytes = kKind == PackedKind::k8Bit;
    const int64_t blocks = x.cols / 32;
    __m512i dots[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) dots[t] = _mm512_setzero_si512();
    if constexpr (kBytes) {
      Dot32Bytes(p, x, b * 32, dots);
    } else {
      Dot32Nibbles(p, x, b * 32, dots);
    }
    const __m512 scale = HalfScales(p + (kBytes ? 512 : 256));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512i offset =
          _mm512_slli_epi32(_mm512_set1_epi32(x.sums_32[t * blocks + b]), kBytes ? 7 : 3);
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(dots[t], offset));
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t * blocks + b]));
      sums[t] = _mm512_fmadd_ps(both, dot, sums[t]);
    }
  }
};
template <>
struct PackedBlock<PackedKind::k8Bit> : SimpleBlock<PackedKind::k8Bit> {};
template <>
struct PackedBlock<PackedKind::k4Bit> : SimpleBlock<PackedKind::k4Bit> {};

// Eight times 32 columns, each with a scale and a minimum.
template <PackedKind kKind>
struct MinBlock {
  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    constexpr bool kBytes = kKind == PackedKind::k8BitK;
    constexpr int64_t kQuantBytes = kBytes ? 512 : 256;  // of 32 columns
    const int64_t blocks = x.cols / 32;
    const std::byte* const tail = p + 8 * kQuantBytes;
    const __m512 d = HalfScales(tail);
    const __m512 dmin = HalfScales(tail + 32);
    for (int j = 0; j < 8; ++j) {
      const int64_t block = b * 8 + j;
      __m512i dots[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) dots[t] = _mm512_setzero_si512();
      if constexpr (kBytes) {
        Dot32Bytes(p + j * kQuantBytes, x, block * 32, dots);
      } else {
        Dot32Nibbles(p + j * kQuantBytes, x, block * 32, dots);
      }
      const __m512 scale = _mm512_mul_ps(d, ByteScales(tail + 64 + j * 32));
      const __m512 min = _mm512_mul_ps(dmin, ByteScales(tail + 64 + j * 32 + 16));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512 dot = _mm512_cvtepi32_ps(dots[t]);
        const __m512 ones = _mm512_cvtepi32_ps(_mm512_set1_epi32(x.sums_32[t * blocks + block]));
        const __m512 value = _mm512_fnmadd_ps(min, ones, _mm512_mul_ps(scale, dot));
        sums[t] = _mm512_fmadd_ps(value, _mm512_set1_ps(x.scales[t * blocks + block]), sums[t]);
      }
    }
  }
};
template <>
struct PackedBlock<PackedKind::k4BitK> : MinBlock<PackedKind::k4BitK> {};
template <>
struct PackedBlock<PackedKind::k8BitK> : MinBlock<PackedKind::k8BitK> {};

// Sixteen times 16 columns, each with a signed scale.
template <>
struct PackedBlock<PackedKind::k6BitK> {
  // 16 columns: their low nibbles, and their upper pairs in place, four registers each.
  template <int kTokens, bool kHighNibbles, int kSixteenth>
  static BATON_INLINE void Add16(const std::byte* nibbles, const std::byte* pairs,
                                 const std::byte* scales, __m512 d, const PackedTile& x,
                                 int64_t sixteenth, __m512 (&sums)[kTokens]) {
    const __m512i low_mask = _mm512_set1_epi8(15);
    __m512i dots[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) dots[t] = _mm512_setzero_si512();
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      __m512i low = LoadQuants(nibbles + g * 64);
      if constexpr (kHighNibbles) low = _mm512_srli_epi16(low, 4);
      const __m512i w = _mm512_or_si512(_mm512_and_si512(low, low_mask),
                                        UpperPairs<kSixteenth>(LoadQuants(pairs + g * 64)));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        dots[t] =
            _mm512_dpbusd_epi32(dots[t], w, Broadcast4(x.q + t * x.cols + sixteenth * 16 + g * 4));
      }
    }
    const __m512 scale = _mm512_mul_ps(d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(
                                              reinterpret_cast<const __m128i*>(scales)))));
    const int64_t parts = x.cols / 16;
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512i offset =
          _mm512_slli_epi32(_mm512_set1_epi32(x.sums_16[t * parts + sixteenth]), 5);
      const __m512 dot = _mm512_cvtepi32_ps(_mm512_sub_epi32(dots[t], offset));
      const __m512 both =
          _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t * (parts / 2) + sixteenth / 2]));
      sums[t] = _mm512_fmadd_ps(both, dot, sums[t]);
    }
  }

  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    const std::byte* const pairs = p + 2048;
    const std::byte* const tail = pairs + 1024;
    const __m512 d = HalfScales(tail);
    for (int j = 0; j < 4; ++j) {  // 64 columns
      const std::byte* const nibbles = p + j * 512;
      const std::byte* const pair = pairs + j * 256;
      const std::byte* const scales = tail + 32 + j * 64;
      const int64_t first = b * 16 + j * 4;
      Add16<kTokens, false, 0>(nibbles, pair, scales, d, x, first, sums);
      Add16<kTokens, true, 1>(nibbles, pair, scales + 16, d, x, first + 1, sums);
      Add16<kTokens, false, 2>(nibbles + 256, pair, scales + 32, d, x, first + 2, sums);
      Add16<kTokens, true, 3>(nibbles + 256, pair, scales + 48, d, x, first + 3, sums);
    }
  }
};

template <PackedKind kKind, int kTokens>
static void PackedPanelTile(const std::byte* panel, const PackedTile& x, float* y, int64_t y_stride,
                            __mmask16 rows, bool add) {
  const int64_t blocks = x.cols / PackedBlockColumns(kKind);
  __m512 sums[kTokens];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) sums[t] = _mm512_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b) {
    PackedBlock<kKind>::Add(panel + b * PackedBlockBytes(kKind), x, b, sums);
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
    float* const out = y + t * y_stride;
    const __m512 before = add ? _mm512_maskz_loadu_ps(rows, out) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(out, rows, add ? _mm512_add_ps(before, sums[t]) : sums[t]);
  }
}

template <PackedKind kKind>
static void PackedMatmulOf(const PackedMatmulArgs& args) {
  const PackedWeights& w = args.w;
  const int64_t panel_bytes = w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
  for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    const std::byte* const data = w.data + panel * panel_bytes;
    const int64_t left = w.rows - panel * kPackedRows;
    const auto rows = static_cast<__mmask16>(left < kPackedRows ? (1 << left) - 1 : 0xffff);
    float* y = args.y + panel * kPackedRows;
    PackedTile x = {args.x.q, args.x.scales, args.x.sums_16, args.x.sums_32, w.cols};
    const auto next = [&x, &y, &args](int64_t tokens) {
      x.q += tokens * x.cols;
      x.scales += tokens * (x.cols / 32);
      x.sums_16 += tokens * (x.cols / 16);
      x.sums_32 += tokens * (x.cols / 32);
      y += tokens * args.y_stride;
    };
    int64_t t = 0;
    for (; t + kPackedTokens <= args.m; t += kPackedTokens, next(kPackedTokens)) {
      PackedPanelTile<kKind, kPackedTokens>(data, x, y, args.y_stride, rows, args.add);
    }
    if (t + 4 <= args.m) {
      PackedPanelTile<kKind, 4>(data, x, y, args.y_stride, rows, args.add);
      t += 4;
      next(4);
    }
    if (t + 2 <= args.m) {
      PackedPanelTile<kKind, 2>(data, x, y, args.y_stride, rows, args.add);
      t += 2;
      next(2);
    }
    if (t < args.m) PackedPanelTile<kKind, 1>(data, x, y, args.y_stride, rows, args.add);
  }
}

static void PackedMatmul(const PackedMatmulArgs& args) {
  switch (args.w.kind) {
    case PackedKind::k8Bit:
      return PackedMatmulOf<PackedKind::k8Bit>(args);
    case PackedKind::k4Bit:
      return PackedMatmulOf<PackedKind::k4Bit>(args);
    case PackedKind::k4BitK:
      return PackedMatmulOf<PackedKind::k4BitK>(args);
    case PackedKind::k8BitK:
      return PackedMatmulOf<PackedKind::k8BitK>(args);
    case PackedKind::k6BitK:
      return PackedMatmulOf<PackedKind::k6BitK>(args);
  }
}

// To nearest, ties to even, with the scale that the largest magnitude of 32 asks for.
static void Quantise(const QuantiseArgs& args) {
  const int64_t parts = args.m * args.cols / kActivationBlock;
  for (int64_t i = 0; i < parts; ++i) {
    const float* const x = args.x + i * kActivationBlock;
    const __m512 low = _mm512_loadu_ps(x);
    const __m512 high = _mm512_loadu_ps(x + 16);
    const float largest =
        _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
    const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
    const __m512i q_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, _mm512_set1_ps(inverse)));
    const __m512i q_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, _mm512_set1_ps(inverse)));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(args.out.q + i * kActivationBlock),
                     _mm512_cvtsepi32_epi8(q_low));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(args.out.q + i * kActivationBlock + 16),
                     _mm512_cvtsepi32_epi8(q_high));
    const int32_t sum_low = _mm512_reduce_add_epi32(q_low);
    const int32_t sum_high = _mm512_reduce_add_epi32(q_high);
    args.out.scales[i] = largest / 127.0f;
    args.out.sums_16[2 * i] = sum_low;
    args.out.sums_16[2 * i + 1] = sum_high;
    args.out.sums_32[i] = sum_low + sum_high;
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX512VNNI__
