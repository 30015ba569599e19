#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_form-inl.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

#if defined(__AVX512VNNI__)

namespace baton::BATON_SIMD_NAMESPACE {

// Activations from the first token of a tile on; see ActivationTile for how they lie.
struct PackedTile {
  const int8_t* q;
  const float* scales;
  const int32_t* sums_16;
  const int32_t* sums_32;
  int64_t cols;
  // What PackedCorrections makes of the sums.
  const int32_t* offsets = nullptr;
  const float* scaled_sums = nullptr;

  // The tokens that follow the first `tokens`, without their corrections.
  BATON_INLINE PackedTile Behind(int64_t tokens) const {
    return {q + tokens * cols, scales + tokens * (cols / 32), sums_16 + tokens * (cols / 16),
            sums_32 + tokens * (cols / 32), cols};
  }
};

// The rows of a panel that the matrix has.
static BATON_INLINE __mmask16 PackedRowMask(const PackedWeights& w, int64_t panel) {
  const int64_t left = w.rows - panel * kPackedRows;
  return static_cast<__mmask16>(left < kPackedRows ? (1 << left) - 1 : 0xffff);
}

static BATON_INLINE __m512i Broadcast4(const int8_t* q) {
  int32_t four;
  __builtin_memcpy(&four, q, sizeof(four));
  return _mm512_set1_epi32(four);
}

// sums += 16 rows' 4 columns by the 4 activations at q. In assembler, for no compiler of today
// folds the broadcast into the product by itself: two instructions for one, where issuing them is
// half of what a product of 8 tokens costs.
static BATON_INLINE void DotFour(__m512i& sums, __m512i w, const int8_t* q) {
  struct Four {
    int8_t q[4];
  };
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(w), "m"(*reinterpret_cast<const Four*>(q)));
}

// As _mm512_cvtepi32_ps, inside which g++ 12 sees an uninitialised operand.
static BATON_INLINE __m512 ToFloats(__m512i v) {
  return __builtin_convertvector(reinterpret_cast<I32>(v), F32);
}

static BATON_INLINE __m512 HalfScales(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

static BATON_INLINE __m512 ByteScales(const std::byte* p) {
  return _mm512_cvtepi32_ps(
      _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

static BATON_INLINE __m512 SignedByteScales(const std::byte* p) {
  return ToFloats(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
}

static BATON_INLINE __m512i LoadQuants(const std::byte* p) { return _mm512_loadu_si512(p); }

// Asks for what lies `ahead` bytes behind what is loaded now. Where there is little arithmetic a
// line for each load of one keeps memory busier than some lines at once: the processor waits where
// more are under way than it can note down.
template <bool kFetches>
static BATON_INLINE void FetchLine(const std::byte* loaded, int64_t ahead) {
  if constexpr (kFetches) __builtin_prefetch(loaded + ahead, 0, 3);
}

// sums[t] += 32 columns of whole bytes at p by the activations at column c.
template <bool kFetches, int kTokens>
static BATON_INLINE void Dot32Bytes(const std::byte* p, int64_t ahead, const PackedTile& x,
                                    int64_t c, __m512i (&sums)[kTokens]) {
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    FetchLine<kFetches>(p + g * 64, ahead);
    const __m512i w = LoadQuants(p + g * 64);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      DotFour(sums[t], w, x.q + (c + g * 4) * kTokens + t * 4);
    }
  }
}

template <bool kFetches, int kTokens>
static BATON_INLINE void Dot32Nibbles(const std::byte* p, int64_t ahead, const PackedTile& x,
                                      int64_t c, __m512i (&sums)[kTokens]) {
  const __m512i low_mask = _mm512_set1_epi8(15);
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    FetchLine<kFetches>(p + g * 64, ahead);
    const __m512i both = LoadQuants(p + g * 64);
    const __m512i low = _mm512_and_si512(both, low_mask);
    const __m512i high = _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* const q = x.q + (c + g * 4) * kTokens + t * 4;
      DotFour(sums[t], low, q);
      DotFour(sums[t], high, q + 16 * kTokens);
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

// What the sums of a row's quants contribute, of columns [32 * part, 32 * (part + parts)): -offset
// * sum for each scale, or, with minimums, the activations' scale * sum. They lie as the sums do,
// so those of several tokens are those of one long row.
template <PackedKind kKind>
static BATON_INLINE void PackedCorrections(const PackedTile& x, int64_t part, int64_t parts,
                                           int32_t* offsets, float* scaled_sums) {
  using Form = PackedForm<kKind>;
  const int64_t count = parts * Form::kScales;
  const int32_t* const sums = Form::kScales == 2 ? x.sums_16 + 2 * part : x.sums_32 + part;
  for (int64_t i = 0; i < count; i += 16) {
    const int64_t left = count - i;
    const auto mask = static_cast<__mmask16>(left < 16 ? (1 << left) - 1 : 0xffff);
    const __m512i some = _mm512_maskz_loadu_epi32(mask, sums + i);
    if constexpr (Form::kMinimums) {
      const __m512 scales = _mm512_maskz_loadu_ps(mask, x.scales + part + i);
      _mm512_mask_storeu_ps(scaled_sums + i, mask, _mm512_mul_ps(scales, ToFloats(some)));
    } else {
      _mm512_mask_storeu_epi32(offsets + i, mask,
                               _mm512_mullo_epi32(some, _mm512_set1_epi32(-Form::kOffset)));
    }
  }
}

// Adds block b of a panel to the sums of the tile's tokens. What lies `ahead` bytes behind it is
// read soon.
template <PackedKind kKind>
struct PackedBlock;

// One scale for 32 columns, and an offset that all weights share.
template <PackedKind kKind>
struct SimpleBlock {
  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, int64_t ahead, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    constexpr bool kBytes = kKind == PackedKind::k8Bit;
    __m512i dots[kTokens];
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) dots[t] = _mm512_set1_epi32(x.offsets[b * kTokens + t]);
    if constexpr (kBytes) {
      Dot32Bytes<true>(p, ahead, x, b * 32, dots);
    } else {
      Dot32Nibbles<true>(p, ahead, x, b * 32, dots);
    }
    FetchLine<true>(p + (kBytes ? 512 : 256), ahead);
    const __m512 scale = HalfScales(p + (kBytes ? 512 : 256));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[b * kTokens + t]));
      sums[t] = _mm512_fmadd_ps(both, ToFloats(dots[t]), sums[t]);
    }
  }
};
template <>
struct PackedBlock<PackedKind::k8Bit> : SimpleBlock<PackedKind::k8Bit> {};
template <>
struct PackedBlock<PackedKind::k4Bit> : SimpleBlock<PackedKind::k4Bit> {};

// What 32 columns are scaled by and what is subtracted from them; `tail` is what follows a block's
// quants, j counts its 32 columns.
struct ScaleAndMin {
  __m512 scale;
  __m512 min;
};
template <PackedKind kKind>
static BATON_INLINE ScaleAndMin ScaleAndMinOf(const std::byte* tail, int64_t j) {
  const __m512 d = HalfScales(tail);
  const __m512 dmin = HalfScales(tail + 32);
  if constexpr (!PackedForm<kKind>::kSubScales) return {d, dmin};
  const std::byte* const bytes = tail + 64 + j * 32;
  return {_mm512_mul_ps(d, ByteScales(bytes)), _mm512_mul_ps(dmin, ByteScales(bytes + 16))};
}

// Once or eight times 32 columns, each with a scale and a minimum.
template <PackedKind kKind>
struct MinBlock {
  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, int64_t, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    constexpr bool kBytes = QuantBits(kKind) == 8;
    constexpr int64_t kQuantBytes = kBytes ? 512 : 256;  // of 32 columns
    constexpr int64_t kParts = PackedBlockColumns(kKind) / 32;
    const std::byte* const tail = p + kParts * kQuantBytes;
    for (int64_t j = 0; j < kParts; ++j) {
      const int64_t block = b * kParts + j;
      FetchAhead<PackedBlockBytes(kKind) / kParts>(p, j);
      __m512i dots[kTokens];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) dots[t] = _mm512_setzero_si512();
      if constexpr (kBytes) {
        Dot32Bytes<false>(p + j * kQuantBytes, 0, x, block * 32, dots);
      } else {
        Dot32Nibbles<false>(p + j * kQuantBytes, 0, x, block * 32, dots);
      }
      const auto [scale, min] = ScaleAndMinOf<kKind>(tail, j);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[block * kTokens + t]));
        sums[t] = _mm512_fmadd_ps(both, ToFloats(dots[t]), sums[t]);
        const __m512 x_sum = _mm512_set1_ps(x.scaled_sums[block * kTokens + t]);
        sums[t] = _mm512_fnmadd_ps(min, x_sum, sums[t]);
      }
    }
  }
};
template <>
struct PackedBlock<PackedKind::k4BitMin> : MinBlock<PackedKind::k4BitMin> {};
template <>
struct PackedBlock<PackedKind::k8BitMin> : MinBlock<PackedKind::k8BitMin> {};
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
    for (int t = 0; t < kTokens; ++t) {
      dots[t] = _mm512_set1_epi32(x.offsets[sixteenth * kTokens + t]);
    }
#pragma GCC unroll 4
    for (int g = 0; g < 4; ++g) {
      __m512i low = LoadQuants(nibbles + g * 64);
      if constexpr (kHighNibbles) low = _mm512_srli_epi16(low, 4);
      const __m512i w = _mm512_or_si512(_mm512_and_si512(low, low_mask),
                                        UpperPairs<kSixteenth>(LoadQuants(pairs + g * 64)));
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        DotFour(dots[t], w, x.q + (sixteenth * 16 + g * 4) * kTokens + t * 4);
      }
    }
    const __m512 scale = _mm512_mul_ps(d, SignedByteScales(scales));
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512 both =
          _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[sixteenth / 2 * kTokens + t]));
      sums[t] = _mm512_fmadd_ps(both, ToFloats(dots[t]), sums[t]);
    }
  }

  template <int kTokens>
  static BATON_INLINE void Add(const std::byte* p, int64_t, const PackedTile& x, int64_t b,
                               __m512 (&sums)[kTokens]) {
    const std::byte* const pairs = p + 2048;
    const std::byte* const tail = pairs + 1024;
    const __m512 d = HalfScales(tail);
    for (int j = 0; j < 4; ++j) {  // 64 columns
      FetchAhead<PackedBlockBytes(PackedKind::k6BitK) / 4>(p, j);
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

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX512VNNI__
