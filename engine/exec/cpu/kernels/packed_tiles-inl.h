#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/tiles-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Packed products for many tokens in tile registers. Weights and activations are small integers,
// which bf16 holds exactly, and so are the f32 sums of 32 of their products (below 2^24): what
// comes out of a tile is the integer that PackedPanelTile has, and it is scaled and summed in the
// same order, so that results are the same bits. int8 tiles would be as exact, but their sums need
// a conversion each, and while tiles are at work the vector unit that they share is the limit.
//
// A unit is sixteen tokens by sixteen rows by as many columns as share a scale, 32 or 16: one tile
// product, stored, and sixteen vectors scaled. A product takes 52 cycles and a new one can begin
// every 16 (Intel's optimisation manual, "Intel AMX"), so four are under way in four tiles.

// 32 columns each, of two panels: 20 KB of weights, and 9 KB of activations that both read from the
// first cache.
constexpr int kTileParts = 8;
constexpr int kTilePanelsAtOnce = 2;
constexpr int kTileGroups = 16;  // of tokens, at most, that take turns
constexpr int64_t kTileBlockBytes = int64_t{1600}
                                    << 10;  // what these groups may take: second cache

// A panel's 32 columns: bf16 of pairs of columns, 4g and 4g + 2, then 4g + 1 and 4g + 3; their
// scales (two: one for each half) and minimums.
struct alignas(64) PanelTile {
  uint16_t q[16][kPackedRows][2];
  float scales[2][kPackedRows];
  float mins[kPackedRows];
};

// The workspace of one thread.
struct TileSpace {
  PanelTile weights[kTilePanelsAtOnce][kTileParts];
  float stage[4][kTileTokens][kPackedRows];  // what came out of the four tiles
  float y[kTileGroups * kTilePanelsAtOnce][kTileTokens][kPackedRows];
};
static_assert(sizeof(TileSpace) + 64 <= PackedScratchBytes(0));

// Tile kTile = tile kA . tile kB.
template <int kTile, int kA, int kB>
static BATON_INLINE void MultiplyTiles() {
  ClearTile<kTile>();
  AddTileProduct<kTile, kA, kB>();
}

// Tiles 0 and 1: tokens; 2 and 3: weights; 4 to 7: products. `columns`: of a unit.
static void ConfigureTiles(int columns) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.rows[i] = static_cast<uint8_t>(i == 2 || i == 3 ? columns / 2 : 16);
    config.row_bytes[i] = static_cast<uint16_t>(i < 2 ? columns * 2 : 64);
  }
  LoadTileConfig(config);
}

// A group of tokens and a panel over some parts, columns of 32.
struct TileUnits {
  const TokenTile* x;        // [parts]
  const PanelTile* weights;  // [parts]
  int64_t units;
};

// sums[t] += the unit's products, which stand in `stage`, scaled.
template <bool kMinimums, int kHalves>
static BATON_INLINE void ScaleUnit(const TileUnits& of, int64_t unit,
                                   const float (&stage)[kTileTokens][kPackedRows],
                                   __m512 (&sums)[kTileTokens]) {
  const TokenTile& x = of.x[unit / kHalves];
  const PanelTile& w = of.weights[unit / kHalves];
  const __m512 scale = _mm512_load_ps(w.scales[unit % kHalves]);
  __m512 min;
  if constexpr (kMinimums) min = _mm512_load_ps(w.mins);
#pragma GCC unroll 16
  for (int t = 0; t < kTileTokens; ++t) {
    const __m512 both = _mm512_mul_ps(scale, _mm512_set1_ps(x.scales[t]));
    sums[t] = _mm512_fmadd_ps(both, _mm512_load_ps(stage[t]), sums[t]);
    if constexpr (kMinimums) {
      sums[t] = _mm512_fnmadd_ps(min, _mm512_set1_ps(x.scaled_sums[t]), sums[t]);
    }
  }
}

// One turn of the pipeline, with product tile 4 + kStage: the unit four turns ago leaves it, the
// given one enters.
template <int kHalves, int kStage>
static BATON_INLINE void TileTurn(const TileUnits& of, int64_t unit, bool enter, bool leave,
                                  float (&stage)[4][kTileTokens][kPackedRows]) {
  constexpr int kA = kStage % 2;
  constexpr int kB = 2 + kStage % 2;
  if (enter) {
    const int64_t half = unit % kHalves;
    LoadTile<kA>(of.x[unit / kHalves].q[0] + half * 16, sizeof(of.x->q[0]));
    LoadTile<kB>(of.weights[unit / kHalves].q[half * 8], sizeof(of.weights->q[0]));
  }
  if (leave) StoreTile<4 + kStage>(stage[kStage]);
  if (enter) MultiplyTiles<4 + kStage, kA, kB>();
}

static BATON_INLINE void LoadSums(const float (&y)[kTileTokens][kPackedRows],
                                  __m512 (&sums)[kTileTokens]) {
#pragma GCC unroll 16
  for (int t = 0; t < kTileTokens; ++t) sums[t] = _mm512_load_ps(y[t]);
}
static BATON_INLINE void StoreSums(const __m512 (&sums)[kTileTokens],
                                   float (&y)[kTileTokens][kPackedRows]) {
#pragma GCC unroll 16
  for (int t = 0; t < kTileTokens; ++t) _mm512_store_ps(y[t], sums[t]);
}

// y[g * panels + p] += the units' products, for groups of tokens, whose tiles are x_stride apart,
// and panels, whose weights are kTileParts apart: one stream of units, for filling and draining the
// tiles takes as long as five of them. What is stored in a turn is scaled in the next, while other
// products are under way. `of.units` is a multiple of 4.
template <bool kMinimums, int kHalves>
static void MultiplyGroups(const TileUnits& of, int64_t x_stride, int64_t groups, int64_t panels,
                           float (&stage)[4][kTileTokens][kPackedRows],
                           float (*y)[kTileTokens][kPackedRows]) {
  const auto scale = [](const TileUnits& units, int64_t unit, const auto& from, auto& sums) {
    ScaleUnit<kMinimums, kHalves>(units, unit, from, sums);
  };
  const auto advance = [&](TileUnits& at) {
    at.weights += kTileParts;
    if (at.weights == of.weights + panels * kTileParts) {
      at.weights = of.weights;
      at.x += x_stride;
    }
  };
  TileUnits entering = of;
  TileUnits scaled = of;
  int64_t next = 0;  // the unit of its group that enters
  int64_t done = 0;  // and how many are scaled but for the last
  const int64_t total = of.units * groups * panels;
  __m512 sums[kTileTokens];
  LoadSums(*y, sums);
  for (int64_t i = 0; i < total + 8; i += 4) {
    const bool enter = i < total;
    const bool leave = i >= 4 && i < total + 4;
    TileTurn<kHalves, 0>(entering, next, enter, leave, stage);
    if (i >= 8) scale(scaled, done - 1, stage[3], sums);
    if (leave && done == of.units) {
      StoreSums(sums, *y);
      LoadSums(*++y, sums);
      advance(scaled);
      done = 0;
    }
    TileTurn<kHalves, 1>(entering, next + 1, enter, leave, stage);
    if (leave) scale(scaled, done, stage[0], sums);
    TileTurn<kHalves, 2>(entering, next + 2, enter, leave, stage);
    if (leave) scale(scaled, done + 1, stage[1], sums);
    TileTurn<kHalves, 3>(entering, next + 3, enter, leave, stage);
    if (leave) scale(scaled, done + 2, stage[2], sums);
    if (leave) done += 4;
    next += 4;
    if (next == of.units) {
      next = 0;
      advance(entering);
    }
  }
  StoreSums(sums, *y);
}

// The same of one group, for any number of units.
template <bool kMinimums, int kHalves>
static void MultiplyUnits(const TileUnits& of, float (&stage)[4][kTileTokens][kPackedRows],
                          float (&y)[kTileTokens][kPackedRows]) {
  __m512 sums[kTileTokens];
  LoadSums(y, sums);
  for (int64_t unit = 0; unit < of.units; ++unit) {
    TileTurn<kHalves, 0>(of, unit, /*enter=*/true, /*leave=*/false, stage);
    StoreTile<4>(stage[0]);
    ScaleUnit<kMinimums, kHalves>(of, unit, stage[0], sums);
  }
  StoreSums(sums, y);
}

// bf16 of first, first + 1, ... 32 of them; of 16 of them, twice, where they `repeat`.
static BATON_INLINE __m512i HalfTable(int first, bool repeat) {
  alignas(64) uint16_t table[32];
  for (int i = 0; i < 32; ++i) {
    const auto value = static_cast<float>(first + (repeat ? i % 16 : i));
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof(bits));
    table[i] = static_cast<uint16_t>(bits >> 16);
  }
  return _mm512_load_si512(table);
}

// Quants are looked up by pairs: the index is the lower bits of a word, so that of a row's four
// columns first the even ones, then, shifted by a byte, the odd ones are found.
template <PackedKind kKind>
struct TileQuants;

template <>
struct TileQuants<PackedKind::k8Bit> {
  // As the upper byte of 32 bits each becomes a float of 2^24 times its value; that the scales
  // undo.
  static constexpr float kScale = 1.0f / (1 << 24);
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(kPackedOffset8Bit));
  const __m512i upper = _mm512_set1_epi32(static_cast<int32_t>(0xff000000));

  BATON_INLINE __m512i Float(__m512i v) const {
    return reinterpret_cast<__m512i>(ToFloats(_mm512_and_si512(v, upper)));
  }
  BATON_INLINE void Part(const std::byte* p, int64_t j, PanelTile& out) const {
    for (int g = 0; g < 8; ++g) {
      const __m512i v = _mm512_xor_si512(LoadQuants(p + j * 512 + g * 64), sign);
      const __m512i even = _mm512_srli_epi32(Float(_mm512_slli_epi32(v, 24)), 16);
      const __m512i odd = _mm512_srli_epi32(Float(_mm512_slli_epi32(v, 16)), 16);
      const __m512i next_even = Float(_mm512_slli_epi32(v, 8));
      const __m512i next_odd = Float(v);
      _mm512_store_si512(out.q[2 * g], _mm512_or_si512(even, next_even));
      _mm512_store_si512(out.q[2 * g + 1], _mm512_or_si512(odd, next_odd));
    }
  }
};

template <int kOffset>
struct NibbleTileQuants {
  static constexpr float kScale = 1;
  const __m512i table = HalfTable(-kOffset, /*repeat=*/true);

  BATON_INLINE void Part(const std::byte* p, int64_t j, PanelTile& out) const {
    for (int g = 0; g < 4; ++g) {
      const __m512i v = LoadQuants(p + j * 256 + g * 64);
      const auto store = [&](int k, __m512i i) {
        _mm512_store_si512(out.q[k], _mm512_permutexvar_epi16(i, table));
      };
      store(2 * g, v);
      store(2 * g + 1, _mm512_srli_epi16(v, 8));
      store(8 + 2 * g, _mm512_srli_epi16(v, 4));
      store(8 + 2 * g + 1, _mm512_srli_epi16(v, 12));
    }
  }
};
template <>
struct TileQuants<PackedKind::k4Bit> : NibbleTileQuants<8> {};
template <>
struct TileQuants<PackedKind::k4BitMin> : NibbleTileQuants<0> {};
template <>
struct TileQuants<PackedKind::k4BitK> : NibbleTileQuants<0> {};

// Kinds with minimums have five bits in each byte.
struct FiveBitTileQuants {
  static constexpr float kScale = 1;
  const __m512i table = HalfTable(0, /*repeat=*/false);

  BATON_INLINE void Part(const std::byte* p, int64_t j, PanelTile& out) const {
    for (int g = 0; g < 8; ++g) {
      const __m512i v = LoadQuants(p + j * 512 + g * 64);
      _mm512_store_si512(out.q[2 * g], _mm512_permutexvar_epi16(v, table));
      _mm512_store_si512(out.q[2 * g + 1],
                         _mm512_permutexvar_epi16(_mm512_srli_epi16(v, 8), table));
    }
  }
};
template <>
struct TileQuants<PackedKind::k8BitMin> : FiveBitTileQuants {};
template <>
struct TileQuants<PackedKind::k8BitK> : FiveBitTileQuants {};

template <>
struct TileQuants<PackedKind::k6BitK> {
  static constexpr float kScale = 1;
  const __m512i low = HalfTable(-32, /*repeat=*/false);
  const __m512i high = HalfTable(0, /*repeat=*/false);

  BATON_INLINE void Part(const std::byte* p, int64_t j, PanelTile& out) const {
    const __m512i low_mask = _mm512_set1_epi8(15);
    const __m512i pair_mask = _mm512_set1_epi8(0x30);
    const std::byte* const pairs = p + 2048 + j / 2 * 256;
    for (int g = 0; g < 4; ++g) {
      const __m512i both = LoadQuants(p + j * 256 + g * 64);
      // Bits 0..3 of the even 32 columns' pairs, 4..7 of the odd ones'.
      const __m512i pair = _mm512_srli_epi16(LoadQuants(pairs + g * 64), j % 2 == 0 ? 0 : 4);
      const auto store = [&](int k, __m512i nibbles, __m512i in_place) {
        const __m512i v = _mm512_or_si512(_mm512_and_si512(nibbles, low_mask),
                                          _mm512_and_si512(in_place, pair_mask));
        _mm512_store_si512(out.q[k], _mm512_permutex2var_epi16(low, v, high));
        _mm512_store_si512(out.q[k + 1],
                           _mm512_permutex2var_epi16(low, _mm512_srli_epi16(v, 8), high));
      };
      store(2 * g, both, _mm512_slli_epi16(pair, 4));
      store(8 + 2 * g, _mm512_srli_epi16(both, 4), _mm512_slli_epi16(pair, 2));
    }
  }
};

// One panel's columns [32 * part, 32 * (part + parts)).
template <PackedKind kKind>
static void UnpackTiles(const std::byte* data, int64_t part, int64_t parts, PanelTile* out) {
  const TileQuants<kKind> quants;
  constexpr int64_t kBlockParts = PackedBlockColumns(kKind) / 32;
  for (int64_t i = 0; i < parts; ++i) {
    const std::byte* const p = data + (part + i) / kBlockParts * PackedBlockBytes(kKind);
    const int64_t j = (part + i) % kBlockParts;
    quants.Part(p, j, out[i]);
    const std::byte* const tail =
        p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
    if constexpr (PackedForm<kKind>::kMinimums) {
      const auto [scale, min] = ScaleAndMinOf<kKind>(tail, j);
      _mm512_store_ps(out[i].scales[0], scale);
      _mm512_store_ps(out[i].mins, min);
    } else if constexpr (kKind == PackedKind::k6BitK) {
      const __m512 d = HalfScales(tail);
      const std::byte* const scales = tail + 32 + j * 32;
      _mm512_store_ps(out[i].scales[0], _mm512_mul_ps(d, SignedByteScales(scales)));
      _mm512_store_ps(out[i].scales[1], _mm512_mul_ps(d, SignedByteScales(scales + 16)));
    } else {
      const __m512 undo = _mm512_set1_ps(TileQuants<kKind>::kScale);
      _mm512_store_ps(out[i].scales[0], _mm512_mul_ps(HalfScales(tail), undo));
    }
  }
}

// y += or = what the panel's sums of a group of tokens came to.
static BATON_INLINE void StoreGroup(const float (&sums)[kTileTokens][kPackedRows], int64_t tokens,
                                    __mmask16 rows, bool add, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t, y += y_stride) {
    const __m512 sum = _mm512_load_ps(sums[t]);
    const __m512 before = add ? _mm512_maskz_loadu_ps(rows, y) : _mm512_setzero_ps();
    _mm512_mask_storeu_ps(y, rows, add ? _mm512_add_ps(before, sum) : sum);
  }
}

template <PackedKind kKind>
static void PackedTilesOf(const PackedMatmulArgs& args) {
  constexpr int kHalves = PackedForm<kKind>::kScales;
  const PackedWeights& w = args.w;
  const int64_t row_parts = w.cols / 32;
  const int64_t panel_bytes = w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  auto& space = *reinterpret_cast<TileSpace*>((address + 63) / 64 * 64);

  // As many groups take turns as the second cache holds, and each time about as many.
  const int64_t groups = (args.m + kTileTokens - 1) / kTileTokens;
  int64_t turn = kTileBlockBytes / (row_parts * int64_t{sizeof(TokenTile)});
  turn = turn > kTileGroups ? kTileGroups : turn < 1 ? 1 : turn;
  const int64_t turns = (groups + turn - 1) / turn;
  turn = (groups + turns - 1) / turns;

  ConfigureTiles(32 / kHalves);
  for (int64_t first = 0; first < groups; first += turn) {
    const int64_t count = groups - first < turn ? groups - first : turn;
    for (int64_t panel = args.panel_begin; panel < args.panel_end; panel += kTilePanelsAtOnce) {
      const int64_t left = args.panel_end - panel;
      const int64_t panels = left < kTilePanelsAtOnce ? left : kTilePanelsAtOnce;
      const std::byte* const data = w.data + panel * panel_bytes;
      __builtin_memset(space.y, 0, static_cast<size_t>(count * panels) * sizeof(space.y[0]));
      for (int64_t part = 0; part < row_parts; part += kTileParts) {
        const int64_t parts = row_parts - part < kTileParts ? row_parts - part : kTileParts;
        for (int64_t p = 0; p < panels; ++p) {
          UnpackTiles<kKind>(data + p * panel_bytes, part, parts, space.weights[p]);
          // What is unpacked next; it comes while these are multiplied.
          const std::byte* const next =
              data + p * panel_bytes + (part + parts) * panel_bytes / row_parts;
          const int64_t next_bytes = parts * panel_bytes / row_parts;
          for (int64_t i = 0; i < next_bytes; i += 64) __builtin_prefetch(next + i, 0, 2);
        }
        const TileUnits units = {args.x.tiles + first * row_parts + part, space.weights[0],
                                 parts * kHalves};
        if (units.units % 4 == 0) {
          MultiplyGroups<PackedForm<kKind>::kMinimums, kHalves>(units, row_parts, count, panels,
                                                                space.stage, space.y);
          continue;
        }
        for (int64_t g = 0; g < count * panels; ++g) {
          MultiplyUnits<PackedForm<kKind>::kMinimums, kHalves>(
              {units.x + g / panels * row_parts, space.weights[g % panels], units.units},
              space.stage, space.y[g]);
        }
      }
      for (int64_t g = 0; g < count * panels; ++g) {
        const int64_t token = (first + g / panels) * kTileTokens;
        const int64_t tokens = args.m - token < kTileTokens ? args.m - token : kTileTokens;
        const int64_t at = panel + g % panels;
        StoreGroup(space.y[g], tokens, PackedRowMask(w, at), args.add,
                   args.y + token * args.y_stride + at * kPackedRows, args.y_stride);
      }
    }
  }
  ReleaseTiles();
}

// As Quantise32, into a row of a tile.
static BATON_INLINE void QuantiseTileRow(const float* x, int64_t t, TokenTile& out) {
  const __m512 low = _mm512_loadu_ps(x);
  const __m512 high = _mm512_loadu_ps(x + 16);
  const float largest =
      _mm512_reduce_max_ps(_mm512_max_ps(_mm512_abs_ps(low), _mm512_abs_ps(high)));
  const __m512 inverse = _mm512_set1_ps(largest > 0 ? 127.0f / largest : 0.0f);
  const __m512i q_low = _mm512_cvtps_epi32(_mm512_mul_ps(low, inverse));
  const __m512i q_high = _mm512_cvtps_epi32(_mm512_mul_ps(high, inverse));
  // The upper word of each f32, columns 4g, 4g + 2, 4g + 1, 4g + 3 of both.
  static constexpr auto kOrder = [] {
    struct {
      alignas(64) uint16_t index[32];
    } order = {};
    for (int i = 0; i < 32; ++i) {
      const int column = i % 4 == 1 ? i + 1 : i % 4 == 2 ? i - 1 : i;
      order.index[i] = static_cast<uint16_t>(2 * column + 1);  // 32 and up: of the second source
    }
    return order;
  }();
  _mm512_store_si512(out.q[t],
                     _mm512_permutex2var_epi16(reinterpret_cast<__m512i>(ToFloats(q_low)),
                                               _mm512_load_si512(kOrder.index),
                                               reinterpret_cast<__m512i>(ToFloats(q_high))));
  const int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(q_low, q_high));
  out.scales[t] = largest / 127.0f;
  out.scaled_sums[t] = out.scales[t] * static_cast<float>(sum);
}

static void QuantiseTiles(const QuantiseArgs& args) {
  const int64_t parts = args.cols / kActivationBlock;
  for (int64_t token = args.token_begin; token < args.token_end; ++token) {
    TokenTile* const tiles = args.out.tiles + token / kTileTokens * parts;
    for (int64_t i = 0; i < parts; ++i) {
      QuantiseTileRow(args.x + token * args.cols + i * kActivationBlock, token % kTileTokens,
                      tiles[i]);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
