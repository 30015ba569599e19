#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"

#if defined(__AVX512VNNI__)

namespace baton::BATON_SIMD_NAMESPACE {

// Packed products for many tokens. What a prompt costs is arithmetic, not reading: a pair of panels
// is unpacked to bytes and f32 scales, some columns at a time, so that they stay in the first cache
// while all tokens of a block pass by. Each element's sum is the one PackedPanelTile makes, term
// for term: the columns' order is the same, and sums wait in f32 between the stretches of columns.

constexpr int64_t kWideColumns = 512;  // a stretch: 16 KB of weights, half of the first cache
constexpr int64_t kWideParts = kWideColumns / 32;
constexpr int kWidePanels = 2;
// By two panels: 12 integer and 12 float sums, and 8 registers for what they are made of.
constexpr int kWideTile = 6;
constexpr int64_t kWideTokens = 252;  // a block of whole tiles: their quants fit the second cache

// Once unpacked, kinds differ in their scales and minimums alone: the one that stands for them.
constexpr PackedKind WideKind(PackedKind kind) {
  switch (kind) {
    case PackedKind::k6BitK:
      return PackedKind::k6BitK;
    case PackedKind::k4BitMin:
    case PackedKind::k8BitMin:
    case PackedKind::k4BitK:
    case PackedKind::k8BitK:
      return PackedKind::k8BitMin;
    default:
      return PackedKind::k8Bit;
  }
}

// The workspace of one thread.
struct WideSpace {
  uint8_t quants[kWideParts][8][kWidePanels][64];  // of four columns, as PackedKind::k8Bit has them
  float scales[kWideParts][2][kWidePanels][kPackedRows];
  float mins[kWideParts][kWidePanels][kPackedRows];
  // PackedCorrections of each token.
  int32_t offsets[kWideTokens][2 * kWideParts];
  float scaled_sums[kWideTokens][kWideParts];
  float y[kWideTokens][kWidePanels][kPackedRows];
};
static_assert(sizeof(WideSpace) + 64 <= PackedScratchBytes(0));

// One panel's columns [32 * part, 32 * (part + parts)), at `panel` of the pair.
template <PackedKind kKind>
static BATON_INLINE void WideUnpack(const std::byte* data, int64_t part, int64_t parts, int panel,
                                    WideSpace& space) {
  const __m512i low_mask = _mm512_set1_epi8(15);
  const int64_t block_parts = PackedBlockColumns(kKind) / 32;
  for (int64_t i = 0; i < parts; ++i) {
    const std::byte* const p = data + (part + i) / block_parts * PackedBlockBytes(kKind);
    const int64_t j = (part + i) % block_parts;
    const auto store = [&](int g, __m512i w) { _mm512_store_si512(space.quants[i][g][panel], w); };
    const auto store_scale = [&](int half, __m512 scale) {
      _mm512_store_ps(space.scales[i][half][panel], scale);
    };
    if constexpr (QuantBits(kKind) == 8) {
      for (int g = 0; g < 8; ++g) store(g, LoadQuants(p + j * 512 + g * 64));
    } else if constexpr (QuantBits(kKind) == 4) {
      for (int g = 0; g < 4; ++g) {
        const __m512i both = LoadQuants(p + j * 256 + g * 64);
        store(g, _mm512_and_si512(both, low_mask));
        store(g + 4, _mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask));
      }
    } else {
      const std::byte* const pairs = p + 2048 + j / 2 * 256;
      const __m512i pair_mask = _mm512_set1_epi8(0x30);
      for (int g = 0; g < 4; ++g) {
        const __m512i both = LoadQuants(p + j * 256 + g * 64);
        // Bits 0..3 of the even 32 columns' pairs, 4..7 of the odd ones'.
        const __m512i pair = _mm512_srli_epi16(LoadQuants(pairs + g * 64), j % 2 == 0 ? 0 : 4);
        store(g, _mm512_or_si512(_mm512_and_si512(both, low_mask),
                                 _mm512_and_si512(_mm512_slli_epi16(pair, 4), pair_mask)));
        store(g + 4, _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(both, 4), low_mask),
                                     _mm512_and_si512(_mm512_slli_epi16(pair, 2), pair_mask)));
      }
    }
    const std::byte* const tail =
        p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
    if constexpr (PackedForm<kKind>::kMinimums) {
      const auto [scale, min] = ScaleAndMinOf<kKind>(tail, j);
      store_scale(0, scale);
      _mm512_store_ps(space.mins[i][panel], min);
    } else if constexpr (kKind == PackedKind::k6BitK) {
      const __m512 d = HalfScales(tail);
      store_scale(0, _mm512_mul_ps(d, SignedByteScales(tail + 32 + j * 32)));
      store_scale(1, _mm512_mul_ps(d, SignedByteScales(tail + 32 + j * 32 + 16)));
    } else {
      store_scale(0, HalfScales(tail));
    }
  }
}

// space.y[token...] += the stretch's products, for kTokens tokens from `token` on; `x` is theirs.
template <PackedKind kKind, int kPanels, int kTokens>
static void WideTile(const PackedTile& x, int64_t token, int64_t part, int64_t parts,
                     WideSpace& space) {
  using Form = PackedForm<kKind>;
  constexpr int kGroups = 8 / Form::kScales;
  const int64_t row_parts = x.cols / 32;
  __m512 sums[kTokens][kPanels];
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) sums[t][p] = _mm512_load_ps(space.y[token + t][p]);
  }
  for (int64_t i = 0; i < parts; ++i) {
    const int8_t* const q = x.q + (part + i) * 32;
    const float* const scales = x.scales + part + i;
#pragma GCC unroll 2
    for (int half = 0; half < Form::kScales; ++half) {
      __m512i dots[kTokens][kPanels];
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t) {
        const __m512i start =
            Form::kMinimums ? _mm512_setzero_si512()
                            : _mm512_set1_epi32(space.offsets[token + t][i * Form::kScales + half]);
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) dots[t][p] = start;
      }
#pragma GCC unroll 8
      for (int g = half * kGroups; g < (half + 1) * kGroups; ++g) {
        __m512i w[kPanels];
#pragma GCC unroll 2
        for (int p = 0; p < kPanels; ++p) w[p] = _mm512_load_si512(space.quants[i][g][p]);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const __m512i four = Broadcast4(q + t * x.cols + g * 4);
#pragma GCC unroll 2
          for (int p = 0; p < kPanels; ++p) {
            dots[t][p] = _mm512_dpbusd_epi32(dots[t][p], w[p], four);
          }
        }
      }
#pragma GCC unroll 2
      for (int p = 0; p < kPanels; ++p) {
        const __m512 scale = _mm512_load_ps(space.scales[i][half][p]);
#pragma GCC unroll 8
        for (int t = 0; t < kTokens; ++t) {
          const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(scales[t * row_parts]));
          sums[t][p] = _mm512_fmadd_ps(both, ToFloats(dots[t][p]), sums[t][p]);
        }
        if constexpr (Form::kMinimums) {
          const __m512 min = _mm512_load_ps(space.mins[i][p]);
#pragma GCC unroll 8
          for (int t = 0; t < kTokens; ++t) {
            const __m512 sum = _mm512_set1_ps(space.scaled_sums[token + t][i]);
            sums[t][p] = _mm512_fnmadd_ps(min, sum, sums[t][p]);
          }
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t) {
#pragma GCC unroll 2
    for (int p = 0; p < kPanels; ++p) _mm512_store_ps(space.y[token + t][p], sums[t][p]);
  }
}

template <PackedKind kKind, int kPanels>
static void WideStretch(PackedTile x, int64_t tokens, int64_t part, int64_t parts,
                        WideSpace& space) {
  int64_t t = 0;
  for (; t + kWideTile <= tokens; t += kWideTile, x = x.Behind(kWideTile)) {
    WideTile<kKind, kPanels, kWideTile>(x, t, part, parts, space);
  }
  for (; t + 2 <= tokens; t += 2, x = x.Behind(2)) {
    WideTile<kKind, kPanels, 2>(x, t, part, parts, space);
  }
  if (t < tokens) WideTile<kKind, kPanels, 1>(x, t, part, parts, space);
}

// y += or = what the pair's sums came to.
static BATON_INLINE void WideStore(const WideSpace& space, int64_t tokens, int panel,
                                   __mmask16 rows, bool add, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t, y += y_stride) {
    const __m512 sum = _mm512_load_ps(space.y[t][panel]);
    const __m512 before = add ? _mm512_maskz_loadu_ps(rows, y) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(y, rows, add ? _mm512_add_ps(before, sum) : sum);
  }
}

template <PackedKind kKind>
static void PackedWideOf(const PackedMatmulArgs& args) {
  const PackedWeights& w = args.w;
  const int64_t panel_bytes = w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
  const int64_t row_parts = w.cols / 32;
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  auto& space = *reinterpret_cast<WideSpace*>((address + 63) / 64 * 64);
  PackedTile x = {args.x.q, args.x.scales, args.x.sums_16, args.x.sums_32, w.cols};
  for (int64_t first = 0; first < args.m; first += kWideTokens, x = x.Behind(kWideTokens)) {
    const int64_t tokens = args.m - first < kWideTokens ? args.m - first : kWideTokens;
    for (int64_t panel = args.panel_begin; panel < args.panel_end; panel += kWidePanels) {
      const int panels = args.panel_end - panel < kWidePanels ? 1 : kWidePanels;
      __builtin_memset(space.y, 0, static_cast<size_t>(tokens) * sizeof(space.y[0]));
      for (int64_t part = 0; part < row_parts; part += kWideParts) {
        const int64_t parts = row_parts - part < kWideParts ? row_parts - part : kWideParts;
        for (int p = 0; p < panels; ++p) {
          WideUnpack<kKind>(w.data + (panel + p) * panel_bytes, part, parts, p, space);
        }
        for (int64_t t = 0; t < tokens; ++t) {
          PackedCorrections<kKind>(x.Behind(t), part, parts, space.offsets[t],
                                   space.scaled_sums[t]);
        }
        if (panels == kWidePanels) {
          WideStretch<WideKind(kKind), kWidePanels>(x, tokens, part, parts, space);
        } else {
          WideStretch<WideKind(kKind), 1>(x, tokens, part, parts, space);
        }
      }
      for (int p = 0; p < panels; ++p) {
        WideStore(space, tokens, p, PackedRowMask(w, panel + p), args.add,
                  args.y + first * args.y_stride + (panel + p) * kPackedRows, args.y_stride);
      }
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX512VNNI__
