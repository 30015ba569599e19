#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/packed_tiles-inl.h"
#include "engine/exec/cpu/kernels/packed_wide-inl.h"

#if defined(__AVX512VNNI__)

namespace baton::BATON_SIMD_NAMESPACE {

// Of kPanels panels, which are read side by side, for memory answers to requests in several places
// at once sooner than to those in one, by kTokens tokens. Their sums, float and integer, leave the
// 32 registers some for the weights, and a block is read once for all tokens.
template <PackedKind kKind, int kTokens, int kPanels>
static void PackedPanelTile(const PackedWeights& w, int64_t panel, const PackedTile& x, float* y,
                            int64_t y_stride, bool add) {
  const int64_t blocks = x.cols / PackedBlockColumns(kKind);
  const int64_t panel_bytes = blocks * PackedBlockBytes(kKind);
  const std::byte* const data = w.data + panel * panel_bytes;
  __m512 sums[kPanels][kTokens];
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sums[p][t] = _mm512_setzero_ps();
  }
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* const block = data + b * PackedBlockBytes(kKind);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      PackedBlock<kKind>::Add(block + p * panel_bytes, x, b, sums[p]);
    }
  }
#pragma GCC unroll 4
  for (int p = 0; p < kPanels; ++p) {
    const __mmask16 rows = PackedRowMask(w, panel + p);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      float* const out = y + t * y_stride + (panel + p) * kPackedRows;
      const __m512 before = add ? _mm512_maskz_loadu_ps(rows, out) : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(out, rows, add ? _mm512_add_ps(before, sums[p][t]) : sums[p][t]);
    }
  }
}

// Panels [panel, panel + kPanels) by all tokens, as many at a time as TileOf has them. `x`: with
// corrections.
template <PackedKind kKind, int kPanels>
static void PackedPanels(const PackedMatmulArgs& args, int64_t panel, PackedTile x) {
  float* y = args.y;
  int64_t left = args.m;
  const auto take = [&]<int kTokens>() {
    constexpr int kAtOnce = kTokens < 8 || kPanels < 2 ? kPanels : 2;
    for (int p = 0; p < kPanels; p += kAtOnce) {
      PackedPanelTile<kKind, kTokens, kAtOnce>(args.w, panel + p, x, y, args.y_stride, args.add);
    }
    const int64_t parts = kTokens * (x.cols / 32);
    const PackedTile before = x;
    x = x.Behind(kTokens);
    x.offsets = before.offsets + parts * PackedForm<kKind>::kScales;
    x.scaled_sums = before.scaled_sums + parts;
    y += kTokens * args.y_stride;
    left -= kTokens;
  };
  while (left >= kPackedTokens) take.template operator()<kPackedTokens>();
  if (left >= 4) take.template operator()<4>();
  if (left >= 2) take.template operator()<2>();
  if (left >= 1) take.template operator()<1>();
}

template <PackedKind kKind>
static void PackedMatmulOf(const PackedMatmulArgs& args) {
#if defined(__AMX_BF16__)
  if (args.m >= kPackedWideFrom) return PackedTilesOf<kKind>(args);
#else
  if (args.m >= kPackedWideFrom) return PackedWideOf<kKind>(args);
#endif
  const PackedWeights& w = args.w;
  PackedTile all = {args.x.q, args.x.scales, args.x.sums_16, args.x.sums_32, w.cols};
  auto* const offsets = reinterpret_cast<int32_t*>(args.scratch);
  auto* const scaled_sums = reinterpret_cast<float*>(args.scratch);
  PackedCorrections<kKind>(all, 0, args.m * (w.cols / 32), offsets, scaled_sums);
  all.offsets = offsets;
  all.scaled_sums = scaled_sums;
  int64_t panel = args.panel_begin;
  for (; panel + kPackedPanels <= args.panel_end; panel += kPackedPanels) {
    PackedPanels<kKind, kPackedPanels>(args, panel, all);
  }
  for (; panel < args.panel_end; ++panel) PackedPanels<kKind, 1>(args, panel, all);
}

static void PackedMatmul(const PackedMatmulArgs& args) {
  switch (args.w.kind) {
    case PackedKind::k8Bit:
      return PackedMatmulOf<PackedKind::k8Bit>(args);
    case PackedKind::k4Bit:
      return PackedMatmulOf<PackedKind::k4Bit>(args);
    case PackedKind::k4BitMin:
      return PackedMatmulOf<PackedKind::k4BitMin>(args);
    case PackedKind::k8BitMin:
      return PackedMatmulOf<PackedKind::k8BitMin>(args);
    case PackedKind::k4BitK:
      return PackedMatmulOf<PackedKind::k4BitK>(args);
    case PackedKind::k8BitK:
      return PackedMatmulOf<PackedKind::k8BitK>(args);
    case PackedKind::k6BitK:
      return PackedMatmulOf<PackedKind::k6BitK>(args);
  }
}

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

static void Quantise(const QuantiseArgs& args) {
#if defined(__AMX_BF16__)
  if (args.m >= kPackedWideFrom) return QuantiseTiles(args);
#endif
  const int64_t parts = args.cols / kActivationBlock;
  for (int64_t token = args.token_begin; token < args.token_end; ++token) {
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

#endif  // __AVX512VNNI__
