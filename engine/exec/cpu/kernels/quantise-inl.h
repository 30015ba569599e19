#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_byte_tiles-inl.h"
#include "engine/exec/cpu/kernels/packed_tiles-inl.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

#if defined(__AVX2__)

namespace baton::BATON_SIMD_NAMESPACE {

#if defined(__AVX512VNNI__)
// Writes columns [32 * i, 32 * i + 32) of token t of a tile, which begins at `out`. To nearest,
// ties to even, with the scale that the largest magnitude of the 32 asks for.
static BATON_INLINE void Quantise32(const float* x, int64_t i, int64_t t, int64_t tokens,
                                    const QuantisedRows& out) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest =
      _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
  const float inverse = largest > 0 ? 127.0f / largest : 0.0f;
  const __m512i q_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, _mm512_set1_ps(inverse)));
  const __m512i q_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, _mm512_set1_ps(inverse)));
  alignas(32) int32_t fours[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(fours), _mm512_cvtsepi32_epi8(q_low));
  _mm_store_si128(reinterpret_cast<__m128i*>(fours + 4), _mm512_cvtsepi32_epi8(q_high));
  int8_t* const q = out.q + i * kActivationBlock * tokens + t * 4;
  for (int64_t g = 0; g < 8; ++g) __builtin_memcpy(q + g * tokens * 4, fours + g, 4);
  const int32_t sum_low = _mm512_reduce_add_epi32(q_low);
  const int32_t sum_high = _mm512_reduce_add_epi32(q_high);
  out.scales[i * tokens + t] = largest / 127.0f;
  out.sums_16[2 * i * tokens + t] = sum_low;
  out.sums_16[(2 * i + 1) * tokens + t] = sum_high;
  out.sums_32[i * tokens + t] = sum_low + sum_high;
}
#else
static BATON_INLINE int32_t SumOf(__m256i v) {
  __m128i four = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  four = _mm_add_epi32(four, _mm_shuffle_epi32(four, 0xb1));
  return _mm_cvtsi128_si32(four);
}

static BATON_INLINE void Quantise32(const float* x, int64_t i, int64_t t, int64_t tokens,
                                    const QuantisedRows& out) {
  const __m256 no_sign = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
  __m256 v[4];
  __m256 magnitude = _mm256_setzero_ps();
  for (int e = 0; e < 4; ++e) {
    v[e] = _mm256_loadu_ps(x + 8 * e);
    magnitude = _mm256_max_ps(magnitude, _mm256_and_ps(v[e], no_sign));
  }
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(magnitude), _mm256_extractf128_ps(magnitude, 1));
  four = _mm_max_ps(four, _mm_shuffle_ps(four, four, 0x4e));
  four = _mm_max_ps(four, _mm_shuffle_ps(four, four, 0xb1));
  const float largest = _mm_cvtss_f32(four);
  const __m256 inverse = _mm256_set1_ps(largest > 0 ? 127.0f / largest : 0.0f);
  __m256i q[4];
  for (int e = 0; e < 4; ++e) q[e] = _mm256_cvtps_epi32(_mm256_mul_ps(v[e], inverse));
  const __m256i low = _mm256_packs_epi32(q[0], q[1]);
  const __m256i high = _mm256_packs_epi32(q[2], q[3]);
  // Packing goes by halves of registers: fours of columns 0, 8, 16, 24, 4, 12, 20, 28.
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  alignas(32) int32_t fours[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(fours),
                     _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), order));
  int8_t* const to = out.q + i * kActivationBlock * tokens + t * 4;
  for (int64_t g = 0; g < 8; ++g) __builtin_memcpy(to + g * tokens * 4, fours + g, 4);
  const int32_t sum_low = SumOf(_mm256_add_epi32(q[0], q[1]));
  const int32_t sum_high = SumOf(_mm256_add_epi32(q[2], q[3]));
  out.scales[i * tokens + t] = largest / 127.0f;
  out.sums_16[2 * i * tokens + t] = sum_low;
  out.sums_16[(2 * i + 1) * tokens + t] = sum_high;
  out.sums_32[i * tokens + t] = sum_low + sum_high;
}
#endif

static void Quantise(const QuantiseArgs& args) {
  int64_t begin = args.token_begin;
#if defined(__AMX_BF16__)
  if (args.m >= kPackedWideFrom) return QuantiseTiles(args);
  if (args.m >= kByteTilesFrom) begin = QuantiseByteTiles(args);
#endif
  const int64_t parts = args.cols / kActivationBlock;
  for (int64_t token = begin; token < args.token_end; ++token) {
    const ActivationTile tile = TileOf(token, args.m);
    const QuantisedRows out = {
        args.out.q + tile.first * args.cols, args.out.scales + tile.first * parts,
        args.out.sums_16 + tile.first * parts * 2, args.out.sums_32 + tile.first * parts};
    for (int64_t i = 0; i < parts; ++i) {
      Quantise32(args.x + token * args.cols + i * kActivationBlock, i, token - tile.first,
                 tile.tokens, out);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX2__
