#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_form-inl.h"

#if defined(__AVX2__) && !defined(__AVX512VNNI__)

namespace baton::BATON_SIMD_NAMESPACE {

// Packed products without an integer dot product of four bytes: products of unsigned by signed
// bytes, added up by pairs in 16 bits (vpmaddubsw). Quants are small enough that several of those
// sums fit before they are added up in 32: exact integers, the same ones that the dot products
// give, scaled and summed in the same order.
//
// Half a panel, eight rows, fills a register. Four tokens at a time share what is unpacked.

constexpr int kHalfPanelRows = 8;
constexpr int kAvx2Tokens = 4;

// Where the activations of some tokens stand: side by side in a tile, or each in a row.
struct TokensAt {
  const int8_t* q;
  const float* scales;
  const int32_t* sums_16;
  const int32_t* sums_32;
  int64_t q_token;    // bytes, from a token to the next
  int64_t q_group;    // from four columns to the next
  int64_t sum_token;  // elements of scales and sums_32, from a token to the next; twice, of sums_16
  int64_t part_token;  // of sums_16
  int64_t part;        // from a part's number to the next
};
static BATON_INLINE TokensAt TokensFrom(const QuantisedRows& x, int64_t token, int64_t m,
                                        int64_t cols) {
  const ActivationTile tile = TileOf(token, m);
  const int64_t parts = cols / 32;
  const int64_t in_tile = token - tile.first;
  const bool alone = tile.tokens == 1;
  return {.q = x.q + tile.first * cols + in_tile * 4,
          .scales = x.scales + tile.first * parts + in_tile,
          .sums_16 = x.sums_16 + tile.first * parts * 2 + in_tile,
          .sums_32 = x.sums_32 + tile.first * parts + in_tile,
          .q_token = alone ? cols : 4,
          .q_group = tile.tokens * 4,
          .sum_token = alone ? parts : 1,
          .part_token = alone ? 2 * parts : 1,
          .part = tile.tokens};
}

static BATON_INLINE __m256i LoadHalf(const std::byte* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}
static BATON_INLINE __m256i FourOf(const int8_t* q) {
  int32_t four;
  __builtin_memcpy(&four, q, sizeof(four));
  return _mm256_set1_epi32(four);
}
static BATON_INLINE __m256i AddPairs(__m256i v) {
  return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

// dots[t] = eight rows' products with each token's quants. `p`: of the rows' first four columns;
// `q`: of the first token's.
template <int kTokens>
static BATON_INLINE void Dot32Bytes(const std::byte* p, const TokensAt& x, const int8_t* q,
                                    __m256i (&dots)[kTokens]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) dots[t] = _mm256_setzero_si256();
#pragma GCC unroll 8
  for (int g = 0; g < 8; ++g) {
    // Signed bytes by signed ones: the one's magnitude by the other with its sign.
    const __m256i w = _mm256_xor_si256(LoadHalf(p + g * 64), _mm256_set1_epi8(-128));
    const __m256i magnitude = _mm256_abs_epi8(w);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256i four = _mm256_sign_epi8(FourOf(q + t * x.q_token + g * x.q_group), w);
      dots[t] = _mm256_add_epi32(dots[t], AddPairs(_mm256_maddubs_epi16(magnitude, four)));
    }
  }
}
// Of bytes up to 31: four pairs' sums are at most 4 * 2 * 31 * 127 < 2^15.
template <int kTokens>
static BATON_INLINE void Dot32FiveBits(const std::byte* p, const TokensAt& x, const int8_t* q,
                                       __m256i (&dots)[kTokens]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) dots[t] = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    __m256i sums[kTokens] = {};
#pragma GCC unroll 4
    for (int g = 4 * half; g < 4 * half + 4; ++g) {
      const __m256i w = LoadHalf(p + g * 64);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i four = FourOf(q + t * x.q_token + g * x.q_group);
        sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(w, four));
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) dots[t] = _mm256_add_epi32(dots[t], AddPairs(sums[t]));
  }
}
// Of nibbles: eight pairs' sums are at most 8 * 2 * 15 * 127 < 2^15.
template <int kTokens>
static BATON_INLINE void Dot32Nibbles(const std::byte* p, const TokensAt& x, const int8_t* q,
                                      __m256i (&dots)[kTokens]) {
  const __m256i low_mask = _mm256_set1_epi8(15);
  __m256i sums[kTokens] = {};
#pragma GCC unroll 4
  for (int g = 0; g < 4; ++g) {
    const __m256i both = LoadHalf(p + g * 64);
    const __m256i low = _mm256_and_si256(both, low_mask);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), low_mask);
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const int8_t* const four = q + t * x.q_token + g * x.q_group;
      sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(low, FourOf(four)));
      sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(high, FourOf(four + 4 * x.q_group)));
    }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) dots[t] = AddPairs(sums[t]);
}
// Of 16 columns of six bits, nibbles in `high` or low halves of bytes and pairs of bits at kShift:
// two pairs' sums are at most 2 * 2 * 63 * 127 < 2^15.
template <int kTokens>
static BATON_INLINE void Dot16SixBits(const std::byte* nibbles, const std::byte* pairs, bool high,
                                      int shift, const TokensAt& x, const int8_t* q,
                                      __m256i (&dots)[kTokens]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) dots[t] = _mm256_setzero_si256();
#pragma GCC unroll 2
  for (int two = 0; two < 2; ++two) {
    __m256i sums[kTokens] = {};
#pragma GCC unroll 2
    for (int g = 2 * two; g < 2 * two + 2; ++g) {
      const __m256i nibble = _mm256_and_si256(
          _mm256_srli_epi16(LoadHalf(nibbles + g * 64), high ? 4 : 0), _mm256_set1_epi8(15));
      const __m256i pair =
          _mm256_and_si256(_mm256_srli_epi16(LoadHalf(pairs + g * 64), shift), _mm256_set1_epi8(3));
      const __m256i w = _mm256_or_si256(nibble, _mm256_slli_epi16(pair, 4));
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m256i four = FourOf(q + t * x.q_token + g * x.q_group);
        sums[t] = _mm256_add_epi16(sums[t], _mm256_maddubs_epi16(w, four));
      }
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) dots[t] = _mm256_add_epi32(dots[t], AddPairs(sums[t]));
  }
}

static BATON_INLINE __m256 HalfScales(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
static BATON_INLINE __m256 ByteScales(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
static BATON_INLINE __m256 SignedByteScales(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// sums[t] += scale * the tokens' scales * dots, of 32 columns or the half of them.
template <int kTokens>
static BATON_INLINE void AddScaled(__m256 scale, const TokensAt& x, int64_t part,
                                   const __m256i (&dots)[kTokens], __m256 (&sums)[kTokens]) {
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t) {
    const __m256 both =
        _mm256_mul_ps(scale, _mm256_set1_ps(x.scales[part * x.part + t * x.sum_token]));
    sums[t] = _mm256_fmadd_ps(both, _mm256_cvtepi32_ps(dots[t]), sums[t]);
  }
}

// Adds columns [32 * part, 32 * part + 32) of the eight rows from 8 * `half` of a panel on, which
// are the j-th of the block at `p`.
template <PackedKind kKind, int kTokens>
static BATON_INLINE void AddPart(const std::byte* p, int64_t j, int half, const TokensAt& x,
                                 int64_t part, __m256 (&sums)[kTokens]) {
  using Form = PackedForm<kKind>;
  const std::byte* const tail = p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
  const int8_t* const q = x.q + part * 8 * x.q_group;
  __m256i dots[kTokens];
  if constexpr (kKind == PackedKind::k6BitK) {
    const __m256 d = HalfScales(tail + 16 * half);
    const std::byte* const nibbles = p + j * 256 + 32 * half;
    const std::byte* const pairs = p + 2048 + j / 2 * 256 + 32 * half;
#pragma GCC unroll 2
    for (int sixteenth = 0; sixteenth < 2; ++sixteenth) {
      const auto shift = static_cast<int>(j % 2 * 4 + 2 * sixteenth);
      Dot16SixBits(nibbles, pairs, sixteenth == 1, shift, x, q + sixteenth * 4 * x.q_group, dots);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const int32_t sum = x.sums_16[(2 * part + sixteenth) * x.part + t * x.part_token];
        dots[t] = _mm256_add_epi32(dots[t], _mm256_set1_epi32(-Form::kOffset * sum));
      }
      const std::byte* const scales = tail + 32 + j * 32 + 16 * sixteenth + 8 * half;
      AddScaled(_mm256_mul_ps(d, SignedByteScales(scales)), x, part, dots, sums);
    }
  } else {
    if constexpr (kKind == PackedKind::k8Bit) {
      Dot32Bytes(p + j * 512 + 32 * half, x, q, dots);
    } else if constexpr (QuantBits(kKind) == 8) {
      Dot32FiveBits(p + j * 512 + 32 * half, x, q, dots);
    } else {
      Dot32Nibbles(p + j * 256 + 32 * half, x, q, dots);
    }
    if constexpr (kKind == PackedKind::k4Bit) {
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const int32_t sum = x.sums_32[part * x.part + t * x.sum_token];
        dots[t] = _mm256_add_epi32(dots[t], _mm256_set1_epi32(-Form::kOffset * sum));
      }
    }
    __m256 scale = HalfScales(tail + 16 * half);
    if constexpr (Form::kSubScales) {
      scale = _mm256_mul_ps(scale, ByteScales(tail + 64 + j * 32 + 8 * half));
    }
    AddScaled(scale, x, part, dots, sums);
    if constexpr (Form::kMinimums) {
      __m256 min = HalfScales(tail + 32 + 16 * half);
      if constexpr (Form::kSubScales) {
        min = _mm256_mul_ps(min, ByteScales(tail + 64 + j * 32 + 16 + 8 * half));
      }
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const int64_t at = part * x.part + t * x.sum_token;
        const float x_sum = x.scales[at] * static_cast<float>(x.sums_32[at]);
        sums[t] = _mm256_fnmadd_ps(min, _mm256_set1_ps(x_sum), sums[t]);
      }
    }
  }
}

// A panel by kTokens tokens from `token` on, which share a tile or have one each.
template <PackedKind kKind, int kTokens>
static void PackedPanel(const PackedMatmulArgs& args, int64_t panel, int64_t token) {
  constexpr int64_t kBlockParts = PackedBlockColumns(kKind) / 32;
  const int64_t parts = args.w.cols / 32;
  const std::byte* const data =
      args.w.data + panel * (parts / kBlockParts) * PackedBlockBytes(kKind);
  const TokensAt x = TokensFrom(args.x, token, args.m, args.w.cols);
  __m256 sums[2][kTokens];
  for (auto& half : sums) {
    for (__m256& sum : half) sum = _mm256_setzero_ps();
  }
  for (int64_t part = 0; part < parts; ++part) {
    const std::byte* const p = data + part / kBlockParts * PackedBlockBytes(kKind);
    const int64_t j = part % kBlockParts;
    FetchAhead<PackedBlockBytes(kKind) / kBlockParts>(p, j);
    AddPart<kKind>(p, j, 0, x, part, sums[0]);
    AddPart<kKind>(p, j, 1, x, part, sums[1]);
  }
  const int64_t rows_left = args.w.rows - panel * kPackedRows;
  for (int t = 0; t < kTokens; ++t) {
    float* const y = args.y + (token + t) * args.y_stride + panel * kPackedRows;
    float out[kPackedRows];
    _mm256_storeu_ps(out, sums[0][t]);
    _mm256_storeu_ps(out + kHalfPanelRows, sums[1][t]);
    for (int64_t r = 0; r < kPackedRows && r < rows_left; ++r) {
      y[r] = args.add ? y[r] + out[r] : out[r];
    }
  }
}

template <PackedKind kKind>
static void PackedMatmulOf(const PackedMatmulArgs& args) {
  for (int64_t panel = args.panel_begin; panel < args.panel_end; ++panel) {
    int64_t token = 0;
    // Tiles begin at multiples of 8, or all have one token: no group reaches into a second one.
    for (; token + kAvx2Tokens <= args.m; token += kAvx2Tokens) {
      PackedPanel<kKind, kAvx2Tokens>(args, panel, token);
    }
    if (args.m < kPackedWideFrom && token + 2 <= args.m) {
      PackedPanel<kKind, 2>(args, panel, token);
      token += 2;
    }
    for (; token < args.m; ++token) PackedPanel<kKind, 1>(args, panel, token);
  }
}

static void PackedMatmul(const PackedMatmulArgs& args) {
  ForPackedKind(args.w.kind, [&args]<PackedKind kKind>() { PackedMatmulOf<kKind>(args); });
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX2__
