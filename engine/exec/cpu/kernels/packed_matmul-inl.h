#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/packed_byte_tiles-inl.h"
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
  // Behind the end of a panel comes the one that has been read beside it; what is to be read is the
  // panel so many behind.
  constexpr int64_t kBlocksAhead = kPackedAheadBytes / PackedBlockBytes(kKind);
  for (int64_t b = 0; b < blocks; ++b) {
    const std::byte* const block = data + b * PackedBlockBytes(kKind);
    const int64_t ahead =
        kPackedAheadBytes + (b + kBlocksAhead < blocks ? 0 : (kPanels - 1) * panel_bytes);
#pragma GCC unroll 4
    for (int p = 0; p < kPanels; ++p) {
      PackedBlock<kKind>::Add(block + p * panel_bytes, ahead, x, b, sums[p]);
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

// Panels [panel, panel + kPanels) by a tile of kTokens tokens. `x`: with corrections.
template <PackedKind kKind, int kPanels, int kTokens>
static void PackedPanels(const PackedMatmulArgs& args, int64_t panel, const PackedTile& x,
                         float* y) {
  constexpr int kAtOnce = kTokens < 5 || kPanels < 2 ? kPanels : 2;
  for (int p = 0; p < kPanels; p += kAtOnce) {
    PackedPanelTile<kKind, kTokens, kAtOnce>(args.w, panel + p, x, y, args.y_stride, args.add);
  }
}

// The same by the tokens from `token` on, a tile after the other.
template <PackedKind kKind, int kPanels>
static void PackedPanels(const PackedMatmulArgs& args, int64_t panel, PackedTile x, int64_t token) {
  while (token < args.m) {
    float* const y = args.y + token * args.y_stride;
    const int64_t tokens = TileOf(token, args.m).tokens;
    switch (tokens) {
      case 1:
        PackedPanels<kKind, kPanels, 1>(args, panel, x, y);
        break;
      case 2:
        PackedPanels<kKind, kPanels, 2>(args, panel, x, y);
        break;
      case 3:
        PackedPanels<kKind, kPanels, 3>(args, panel, x, y);
        break;
      case 4:
        PackedPanels<kKind, kPanels, 4>(args, panel, x, y);
        break;
      case 5:
        PackedPanels<kKind, kPanels, 5>(args, panel, x, y);
        break;
      case 6:
        PackedPanels<kKind, kPanels, 6>(args, panel, x, y);
        break;
      case 7:
        PackedPanels<kKind, kPanels, 7>(args, panel, x, y);
        break;
      default:
        PackedPanels<kKind, kPanels, kPackedTokens>(args, panel, x, y);
    }
    const int64_t parts = tokens * (x.cols / 32);
    const PackedTile before = x;
    x = x.Behind(tokens);
    x.offsets = before.offsets + parts * PackedForm<kKind>::kScales;
    x.scaled_sums = before.scaled_sums + parts;
    token += tokens;
  }
}

template <PackedKind kKind>
static void PackedMatmulOf(const PackedMatmulArgs& args) {
  int64_t token = 0;
#if defined(__AMX_BF16__)
  if (args.m >= kPackedWideFrom) return PackedTilesOf<kKind>(args);
  if (args.m >= kByteTilesFrom) token = PackedByteTilesOf<kKind>(args);
#else
  if (args.m >= kPackedWideFrom) return PackedWideOf<kKind>(args);
#endif
  if (token == args.m) return;
  const PackedWeights& w = args.w;
  PackedTile x = {args.x.q, args.x.scales, args.x.sums_16, args.x.sums_32, w.cols};
  x = x.Behind(token);
  auto* const offsets = reinterpret_cast<int32_t*>(args.scratch);
  auto* const scaled_sums = reinterpret_cast<float*>(args.scratch);
  PackedCorrections<kKind>(x, 0, (args.m - token) * (w.cols / 32), offsets, scaled_sums);
  x.offsets = offsets;
  x.scaled_sums = scaled_sums;
  int64_t panel = args.panel_begin;
  for (; panel + kPackedPanels <= args.panel_end; panel += kPackedPanels) {
    PackedPanels<kKind, kPackedPanels>(args, panel, x, token);
  }
  for (; panel < args.panel_end; ++panel) PackedPanels<kKind, 1>(args, panel, x, token);
}

static void PackedMatmul(const PackedMatmulArgs& args) {
  ForPackedKind(args.w.kind, [&args]<PackedKind kKind>() { PackedMatmulOf<kKind>(args); });
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AVX512VNNI__
