#pragma once

#include "engine/exec/cpu/kernels/simd-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Tile registers of 16 rows by 64 bytes. In assembler: g++ 12 believes that loading a configuration
// reads 8 bytes, and that every tile instruction may touch all memory, so that values would not
// stay in registers. What a tile instruction reads or writes is told apart by its operand, or by
// TileFence before the first of some and behind the last.

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};
static_assert(sizeof(TileConfig) == 64);

struct TileBytes {
  std::byte bytes[1024];
};

// Stores before it are done, and loads behind it not begun, as the compiler sees them.
static BATON_INLINE void TileFence() { asm volatile("" : : : "memory"); }

template <int kTile>
static BATON_INLINE void LoadTile(const void* p, int64_t row_stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0"
               :
               : "i"(kTile), "r"(p), "r"(row_stride), "m"(*static_cast<const TileBytes*>(p)));
}
// The same of what is used once before it leaves the first cache, so that it need not stay there.
template <int kTile>
static BATON_INLINE void LoadPassingTile(const void* p, int64_t row_stride) {
  asm volatile("tileloaddt1 (%1,%2,1), %%tmm%c0"
               :
               : "i"(kTile), "r"(p), "r"(row_stride), "m"(*static_cast<const TileBytes*>(p)));
}
template <int kTile>
static BATON_INLINE void StoreTile(float (&out)[16][16]) {
  asm volatile("tilestored %%tmm%c1, (%2,%3,1)"
               : "=m"(out)
               : "i"(kTile), "r"(&out), "r"(int64_t{sizeof(out[0])}));
}
template <int kTile>
static BATON_INLINE void ClearTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// Tile kTile += tile kA . tile kB: of kA's row i and kB's column j, 32 products of bf16; kB's row r
// holds 2r and 2r + 1 of each column side by side. Sums are f32.
template <int kTile, int kA, int kB>
static BATON_INLINE void AddTileProduct() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTile), "i"(kA), "i"(kB));
}
// The same of bytes, 64 products each, kB's row r holding 4r to 4r + 3 of each column: kA's signed,
// kB's too unless kUnsigned. Sums are int32.
template <int kTile, int kA, int kB, bool kUnsigned>
static BATON_INLINE void AddByteProduct() {
  if constexpr (kUnsigned) {
    asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTile), "i"(kA), "i"(kB));
  } else {
    asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTile), "i"(kA), "i"(kB));
  }
}

static BATON_INLINE void LoadTileConfig(const TileConfig& config) {
  asm volatile("ldtilecfg %0" : : "m"(config));
}
// All eight of 16 rows by 64 bytes.
static void ConfigureWholeTiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = 16;
    config.row_bytes[i] = 64;
  }
  LoadTileConfig(config);
}
static BATON_INLINE void ReleaseTiles() { asm volatile("tilerelease"); }

// Two vectors of f32 as bf16, to nearest, ties to even, side by side: low[0], high[0], low[1] ...
static BATON_INLINE __m512i PairsOfBF16(__m512 low, __m512 high) {
  static constexpr auto kOrder = [] {
    struct {
      alignas(64) uint16_t index[32];
    } order = {};
    for (int i = 0; i < 32; ++i) order.index[i] = static_cast<uint16_t>(i / 2 + i % 2 * 16);
    return order;
  }();
  const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder.index), both);
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
