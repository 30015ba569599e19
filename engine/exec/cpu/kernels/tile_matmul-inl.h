#pragma once

#include "engine/exec/cpu/kernels/gate-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/packed_block-inl.h"
#include "engine/exec/cpu/kernels/rms_norm-inl.h"
#include "engine/exec/cpu/kernels/tiles-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Products in tile registers. A register tile is two tiles of tokens by two panels, each loaded
// tile used twice. Of a pair of panels a stretch of columns is dequantised into the first cache, 32
// KB, where it meets all tokens of a block: their activations come from the second cache, past the
// first, and the sums wait there between the stretches. A product takes 16 cycles, and so does a
// tile that comes from the second cache, which is why the weights are not kept there, too.
//
// Sums begin at zero with each stretch and are added up in vector registers beside the next
// products: tiles that began as sums from the second cache would have to wait for them.

constexpr int64_t kStretchParts = kTileStretch / 32;
constexpr int64_t kTilePairs = 16;   // of tiles of tokens, that a block has at most
constexpr int64_t kTileUnits = 256;  // pairs of these by pairs of panels whose sums are kept: 1 MB

// Of two tiles of tokens by two panels.
struct TileSums {
  float tiles[4][kTileTokens][kPackedRows];  // [token tile * 2 + panel]
};
constexpr int64_t kSumVectors = sizeof(TileSums) / 64;

// The workspace of one thread.
struct TileMatmulSpace {
  // Pairs of columns by rows, of both panels; of one turn and the next.
  Bf16Tile weights[2][kStretchParts][2];
  TileSums staged[2];  // of one stretch, of a unit and the next
  TileSums sums[kTileUnits];
};
static_assert(sizeof(TileMatmulSpace) + 64 <= kTileScratchBytes);

// ---- Dequantisation

// Sixteen rows' weights of 32 columns: w = scale * q - min, with one of both, or one for each half.
struct TileScales {
  __m512 scale;
  __m512 bias;  // of q with kTileMagic in place: -(256 + offset) * scale, or -256 * scale - min
};

static BATON_INLINE TileScales OffsetScales(__m512 scale, int offset) {
  return {scale, _mm512_mul_ps(scale, _mm512_set1_ps(static_cast<float>(-256 - offset)))};
}

// A byte in the upper bits of the mantissa of 256 makes 256 + q; the product with the scale is
// exact but for the last rounding, for 256 + offset times an f16 is.
template <int kShift>
static BATON_INLINE __m512 ByteAsFloat(__m512i v) {
  __m512i placed;
  if constexpr (kShift > 0) {
    placed = _mm512_slli_epi32(v, kShift);
  } else {
    placed = _mm512_srli_epi32(v, -kShift);
  }
  constexpr int kAndOr = 0xea;  // (a & b) | c
  return reinterpret_cast<__m512>(_mm512_ternarylogic_epi32(placed, _mm512_set1_epi32(0xff << 15),
                                                            _mm512_set1_epi32(0x43800000), kAndOr));
}

// Four columns of sixteen rows, a byte each: two rows of a tile.
static BATON_INLINE void FourColumns(__m512i bytes, const TileScales& s, uint16_t* out) {
  const auto weight = [&s](__m512 q) { return _mm512_fmadd_ps(q, s.scale, s.bias); };
  _mm512_store_si512(out,
                     PairsOfBF16(weight(ByteAsFloat<15>(bytes)), weight(ByteAsFloat<7>(bytes))));
  _mm512_store_si512(out + 32,
                     PairsOfBF16(weight(ByteAsFloat<-1>(bytes)), weight(ByteAsFloat<-9>(bytes))));
}

// Where a panel is dequantised from.
struct TilePanel {
  const std::byte* data;
  int64_t cols;
  int64_t rows;  // that it has
};

// A tile that is dequantised, columns [32 * part, 32 * (part + 1)) of a panel, in eight steps.
template <PackedKind kKind>
struct TileToDequantise {
  TileToDequantise(const TilePanel& panel, int64_t part, Bf16Tile& tile) : out(tile.q[0]) {
    using Form = PackedForm<kKind>;
    constexpr int64_t kBlockParts = PackedBlockColumns(kKind) / 32;
    const std::byte* const p = panel.data + part / kBlockParts * PackedBlockBytes(kKind);
    const int64_t j = part % kBlockParts;
    quants = p + j * 64 * QuantBits(kKind == PackedKind::k6BitK ? PackedKind::k4Bit : kKind);
    pairs = p + 2048 + j / 2 * 256;
    odd = j % 2 != 0;
    const std::byte* const tail =
        p + PackedBlockColumns(kKind) * kPackedRows * QuantBits(kKind) / 8;
    if constexpr (Form::kMinimums) {
      const auto [scale, min] = ScaleAndMinOf<kKind>(tail, j);
      low = {scale, _mm512_fnmsub_ps(scale, _mm512_set1_ps(256), min)};
      high = low;
    } else if constexpr (kKind == PackedKind::k6BitK) {
      const __m512 d = HalfScales(tail);
      const std::byte* const scales = tail + 32 + j * 32;
      low = OffsetScales(_mm512_mul_ps(d, SignedByteScales(scales)), Form::kOffset);
      high = OffsetScales(_mm512_mul_ps(d, SignedByteScales(scales + 16)), Form::kOffset);
    } else {
      low = OffsetScales(HalfScales(tail), Form::kOffset);
      high = low;
    }
  }

  template <int kStep>
  BATON_INLINE void Step() const {
    if constexpr (QuantBits(kKind) == 8) {
      FourColumns(LoadQuants(quants + kStep * 64), low, out + kStep * 64);
    } else {
      constexpr bool kUpper = kStep >= 4;
      const __m512i both = LoadQuants(quants + kStep % 4 * 64);
      __m512i v =
          _mm512_and_si512(kUpper ? _mm512_srli_epi16(both, 4) : both, _mm512_set1_epi8(15));
      if constexpr (kKind == PackedKind::k6BitK) {
        // Bits 0..3 of the even 32 columns' pairs, 4..7 of the odd ones'.
        const __m512i pair = _mm512_srli_epi16(LoadQuants(pairs + kStep % 4 * 64), odd ? 4 : 0);
        v = _mm512_or_si512(
            v, _mm512_and_si512(_mm512_slli_epi16(pair, kUpper ? 2 : 4), _mm512_set1_epi8(0x30)));
      }
      FourColumns(v, kUpper ? high : low, out + kStep * 64);
    }
  }

  const std::byte* quants;
  const std::byte* pairs;  // of 6 bits: the upper two
  bool odd;
  TileScales low;
  TileScales high;
  uint16_t* out;
};

// The same of rows of bf16: pairs of columns are turned from rows into columns, of four rows at a
// time. Rows that the matrix has not are its last one once more; their sums go nowhere.
template <>
struct TileToDequantise<PackedKind::kRowsBF16> {
  TileToDequantise(const TilePanel& panel, int64_t part, Bf16Tile& tile)
      : from(panel.data + part * 64),
        row_bytes(panel.cols * 2),
        last(panel.rows < kPackedRows ? panel.rows - 1 : kPackedRows - 1),
        out(tile.q[0]) {}

  template <int kStep>
  BATON_INLINE void Step() const {
    constexpr int kRow = kStep / 2 * 4;   // of four
    constexpr int kPair = kStep % 2 * 8;  // of eight
    const __m256i a = Pairs<kPair>(kRow);
    const __m256i b = Pairs<kPair>(kRow + 1);
    const __m256i c = Pairs<kPair>(kRow + 2);
    const __m256i d = Pairs<kPair>(kRow + 3);
    const __m256i ab_low = _mm256_unpacklo_epi32(a, b);
    const __m256i ab_high = _mm256_unpackhi_epi32(a, b);
    const __m256i cd_low = _mm256_unpacklo_epi32(c, d);
    const __m256i cd_high = _mm256_unpackhi_epi32(c, d);
    const auto store = [this](int pair, __m256i v) {
      uint16_t* const to = out + (kPair + pair) * 32 + kRow * 2;
      _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(v));
      _mm_store_si128(reinterpret_cast<__m128i*>(to + 4 * 32), _mm256_extracti128_si256(v, 1));
    };
    store(0, _mm256_unpacklo_epi64(ab_low, cd_low));
    store(1, _mm256_unpackhi_epi64(ab_low, cd_low));
    store(2, _mm256_unpacklo_epi64(ab_high, cd_high));
    store(3, _mm256_unpackhi_epi64(ab_high, cd_high));
  }
  template <int kPair>
  BATON_INLINE __m256i Pairs(int64_t row) const {
    const std::byte* const p = from + (row < last ? row : last) * row_bytes + kPair * 4;
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }

  const std::byte* from;
  int64_t row_bytes;
  int64_t last;  // row of the panel
  uint16_t* out;
};

template <PackedKind kKind>
static BATON_INLINE void DequantiseTile(const TileToDequantise<kKind>& tile) {
  tile.template Step<0>();
  tile.template Step<1>();
  tile.template Step<2>();
  tile.template Step<3>();
  tile.template Step<4>();
  tile.template Step<5>();
  tile.template Step<6>();
  tile.template Step<7>();
}

// A pair of panels, or of its first alone, and a stretch of columns.
struct PanelTurn {
  int64_t panel;
  int64_t part;
  int64_t parts;
  bool whole;
};

// The tiles of a turn, in the order in which they are dequantised.
template <PackedKind kKind>
struct TurnToDequantise {
  BATON_INLINE TileToDequantise<kKind> Tile(int64_t i) const {
    const int64_t panel = turn.whole ? i % 2 : 0;
    const int64_t part = turn.whole ? i / 2 : i;
    return TileToDequantise<kKind>(panels[panel], turn.part + part, out[2 * part + panel]);
  }
  BATON_INLINE int64_t count() const { return turn.parts * (turn.whole ? 2 : 1); }
  // Calls beside() with each.
  template <class Beside>
  BATON_INLINE void Rest(const Beside& beside) {
    for (; done < count(); ++done) {
      DequantiseTile(Tile(done));
      beside();
    }
  }

  PanelTurn turn;
  TilePanel panels[2];
  Bf16Tile* out;  // [parts][2]
  int64_t done = 0;
};

// ---- Products

// Sums of a stretch that are to be added to those of the stretches before it.
struct StagedSums {
  // Vectors [begin, end) of kSumVectors.
  BATON_INLINE void Add(int64_t begin, int64_t end) const {
    if (to == nullptr) return;
    const float* const staged = &from->tiles[0][0][0];
    float* const sums = &to->tiles[0][0][0];
    for (int64_t i = begin; i < end; ++i) {
      const __m512 before = _mm512_maskz_load_ps(first ? 0 : 0xffff, sums + 16 * i);
      _mm512_store_ps(sums + 16 * i, _mm512_add_ps(before, _mm512_load_ps(staged + 16 * i)));
    }
  }

  const TileSums* from = nullptr;
  TileSums* to = nullptr;
  bool first = false;
};

// One product more of each of the tiles that there are.
template <int kTokenTiles, int kPanels>
static BATON_INLINE void AddPart(const Bf16Tile* x, const Bf16Tile* w) {
  constexpr int64_t kStride = 64;
  LoadTile<2>(w, kStride);
  LoadPassingTile<0>(x, kStride);
  AddTileProduct<4, 0, 2>();
  if constexpr (kPanels == 2) {
    LoadTile<3>(w + 1, kStride);
    AddTileProduct<5, 0, 3>();
  }
  if constexpr (kTokenTiles == 2) {
    LoadPassingTile<1>(x + 1, kStride);
    AddTileProduct<6, 1, 2>();
    if constexpr (kPanels == 2) AddTileProduct<7, 1, 3>();
  }
}

static BATON_INLINE void ClearSums() {
  ClearTile<4>();
  ClearTile<5>();
  ClearTile<6>();
  ClearTile<7>();
}
static BATON_INLINE void StoreSums(TileSums& sums) {
  StoreTile<4>(sums.tiles[0]);
  StoreTile<5>(sums.tiles[1]);
  StoreTile<6>(sums.tiles[2]);
  StoreTile<7>(sums.tiles[3]);
}

// sums = the products of `parts` tiles, which are two apart; zeros where there are none.
template <int kTokenTiles, int kPanels>
static BATON_INLINE void MultiplyUnit(const Bf16Tile* x, const Bf16Tile* w, int64_t parts,
                                      const StagedSums& before, TileSums& sums) {
  ClearSums();
  before.Add(0, kSumVectors);
  for (int64_t i = 0; i < parts; ++i, x += 2, w += 2) AddPart<kTokenTiles, kPanels>(x, w);
  StoreSums(sums);
}

// The same of two tiles of tokens and two panels, while a tile of the next turn is dequantised
// every eight parts: a step of that takes less than the four products beside it.
template <PackedKind kKind>
static BATON_INLINE void MultiplyUnitBeside(const Bf16Tile* x, const Bf16Tile* w, int64_t parts,
                                            const StagedSums& before, TileSums& sums,
                                            TurnToDequantise<kKind>& next) {
  ClearSums();
  int64_t added = 0;
  int64_t part = 0;
  const int64_t vectors = parts < 16 ? 8 : 4;  // added beside a part
  const auto one = [&] {
    AddPart<2, 2>(x + 2 * part, w + 2 * part);
    const int64_t end = added + vectors < kSumVectors ? added + vectors : kSumVectors;
    before.Add(added, end);
    added = end;
    ++part;
  };
  for (; part + 8 <= parts && next.done < next.count(); ++next.done) {
    const TileToDequantise<kKind> tile = next.Tile(next.done);
    const auto step = [&]<int kStep>() {
      one();
      tile.template Step<kStep>();
    };
    step.template operator()<0>();
    step.template operator()<1>();
    step.template operator()<2>();
    step.template operator()<3>();
    step.template operator()<4>();
    step.template operator()<5>();
    step.template operator()<6>();
    step.template operator()<7>();
  }
  while (part < parts) one();
  before.Add(added, kSumVectors);
  StoreSums(sums);
}

// Pairs of tiles of tokens by panels [panel_begin, panel_end).
struct TileBlock {
  int64_t first_pair;
  int64_t pairs;
  int64_t panel_begin;
  int64_t panel_end;
};

// How many tokens ahead the rows that sums go to are asked for: they lie apart, so that the
// processor does not see by itself which comes next.
constexpr int64_t kStoreAheadTokens = 4;

// y += or = a block's sums. A token after the other: as much of its row as the block has comes in
// one stretch, where storing each pair of panels as it is done would touch 32 rows, and pages, each
// time.
static void StoreTokens(const TileMatmulArgs& args, const TileSums* sums, const TileBlock& block) {
  const int64_t begin = block.first_pair * 2 * kTileTokens;
  const int64_t behind = begin + block.pairs * 2 * kTileTokens;
  const int64_t end = args.m < behind ? args.m : behind;
  for (int64_t token = begin; token < end; ++token) {
    const int64_t pair = (token - begin) / (2 * kTileTokens);
    const int64_t half = token / kTileTokens % 2;
    float* const y = args.y + token * args.y_stride;
    for (int64_t panel = block.panel_begin; panel < block.panel_end; ++panel) {
      const int64_t at = panel - block.panel_begin;
      const TileSums& of = sums[at / 2 * block.pairs + pair];
      const __m512 sum = _mm512_load_ps(of.tiles[2 * half + at % 2][token % kTileTokens]);
      const __mmask16 rows = PackedRowMask(args.w, panel);
      float* const out = y + panel * kPackedRows;
      __builtin_prefetch(out + kStoreAheadTokens * args.y_stride, 1, 3);
      const __m512 before = args.add ? _mm512_maskz_loadu_ps(rows, out) : _mm512_setzero_ps();
      _mm512_mask_storeu_ps(out, rows, args.add ? _mm512_add_ps(before, sum) : sum);
    }
  }
}

// What a later pair of panels will be dequantised from is asked for while this one is unpacked and
// multiplied, some lines at a time.
struct TileAhead {
  const std::byte* panels[2];
  int64_t bytes;      // of each,
  int64_t row_bytes;  // so many of them at a time,
  int64_t row_apart;  // which lie so far apart
  int64_t at = 0;
  int64_t of_row = 0;

  BATON_INLINE void Fetch(int64_t count) {
    for (const int64_t end = at + count; at < end && at < bytes; at += 64) {
      __builtin_prefetch(panels[0] + of_row, 0, 2);
      __builtin_prefetch(panels[1] + of_row, 0, 2);
      of_row += 64;
      if (of_row == row_bytes) {
        of_row = 0;
        panels[0] += row_apart;
        panels[1] += row_apart;
      }
    }
  }
};

struct TileInput {
  const Bf16Tile* x;
  int64_t m;
  int64_t panel_begin;
  int64_t panel_end;
  int64_t ahead_panels;
  std::byte* scratch;
};

// Pairs of panels: two that follow one another, or a gate's and the one that it lets through.
struct PanelPairs {
  const std::byte* first;
  const std::byte* second;
  int64_t cols;
  int64_t apart;  // panels, of a pair and the next
  int64_t rows;   // of first's matrix
};

// Calls store(sums, block) for what is done of the product.
template <PackedKind kKind, class Store>
static void MultiplyPairs(const TileInput& args, const PanelPairs& w, const Store& store) {
  const int64_t row_parts = w.cols / 32;
  const int64_t panel_bytes = w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  auto& space = *reinterpret_cast<TileMatmulSpace*>((address + 63) / 64 * 64);
  const int64_t all_pairs = (args.m + 2 * kTileTokens - 1) / (2 * kTileTokens);

  ConfigureWholeTiles();
  for (int64_t first_pair = 0; first_pair < all_pairs; first_pair += kTilePairs) {
    const int64_t left = all_pairs - first_pair;
    const int64_t pairs = left < kTilePairs ? left : kTilePairs;
    const int64_t panels_at_once = kTileUnits / pairs * w.apart;
    for (int64_t begin = args.panel_begin; begin < args.panel_end; begin += panels_at_once) {
      const int64_t end =
          args.panel_end - begin < panels_at_once ? args.panel_end : begin + panels_at_once;
      // All turns of a pair of panels and a stretch, stretch by stretch.
      const int64_t of_stretch = (end - begin + w.apart - 1) / w.apart;
      const int64_t turns = (row_parts + kStretchParts - 1) / kStretchParts * of_stretch;
      const auto turn_at = [&](int64_t i) {
        const int64_t part = i / of_stretch * kStretchParts;
        const int64_t rest = row_parts - part;
        const int64_t panel = begin + i % of_stretch * w.apart;
        return PanelTurn{panel, part, rest < kStretchParts ? rest : kStretchParts,
                         panel + w.apart <= end};
      };
      const auto weights_of = [&](int64_t i) {
        const PanelTurn turn = turn_at(i);
        const int64_t at = turn.panel * panel_bytes;
        const int64_t rows = w.rows - turn.panel * kPackedRows;
        const TilePanel first = {w.first + at, w.cols, rows};
        const TilePanel second = {w.second + at, w.cols, rows - (w.apart - 1) * kPackedRows};
        return TurnToDequantise<kKind>{turn, {first, second}, space.weights[i % 2][0]};
      };
      TurnToDequantise<kKind> now = weights_of(0);
      StagedSums staged;
      for (int64_t i = 0; i < turns; ++i) {
        const PanelTurn& turn = now.turn;
        const int64_t parts = turn.parts;
        // What is dequantised after the next turn comes from memory meanwhile, or what the caller
        // will want after these panels.
        const int64_t part_bytes = panel_bytes / row_parts;
        // Where a panel's columns follow one another; else rows do, each with its own.
        constexpr bool kByRows = kKind == PackedKind::kRowsBF16;
        const int64_t column_bytes = kByRows ? 64 : part_bytes;
        int64_t from = end * panel_bytes;
        int64_t ahead_bytes = parts * part_bytes;
        if (args.ahead_panels > 0) {
          const int64_t panel = turn.panel + args.ahead_panels;
          from = panel * panel_bytes + turn.part * column_bytes;
          if ((panel + w.apart - 1) * kPackedRows >= w.rows) ahead_bytes = 0;
        } else if (i + 2 < turns) {
          const PanelTurn later = turn_at(i + 2);
          from = later.panel * panel_bytes + later.part * column_bytes;
        }
        TileAhead ahead = {{w.first + from, w.second + from},
                           ahead_bytes,
                           kByRows ? parts * column_bytes : 0,
                           w.cols * 2};
        const int64_t pieces = now.count() - now.done + pairs;
        const int64_t piece_bytes = (ahead_bytes / pieces + 63) / 64 * 64;
        now.Rest([&] { ahead.Fetch(piece_bytes); });
        // The next turn's weights are dequantised beside these products.
        TurnToDequantise<kKind> next = weights_of(i + 1 < turns ? i + 1 : i);
        if (i + 1 == turns) next.done = next.count();
        // Tiles of a stretch of columns follow one another, pair by pair.
        const Bf16Tile* x = args.x + (turn.part * all_pairs + first_pair * parts) * 2;
        TileSums* sums = space.sums + i % of_stretch * pairs;
        TileFence();
        for (int64_t pair = 0; pair < pairs; ++pair, x += 2 * parts, ++sums) {
          TileSums& stage = space.staged[(i * pairs + pair) % 2];
          const int64_t tokens = args.m - (first_pair + pair) * 2 * kTileTokens;
          if (tokens > kTileTokens && turn.whole) {
            MultiplyUnitBeside<kKind>(x, now.out, parts, staged, stage, next);
          } else if (tokens > kTileTokens) {
            MultiplyUnit<2, 1>(x, now.out, parts, staged, stage);
          } else if (turn.whole) {
            MultiplyUnit<1, 2>(x, now.out, parts, staged, stage);
          } else {
            MultiplyUnit<1, 1>(x, now.out, parts, staged, stage);
          }
          staged = {&stage, sums, turn.part == 0};
          ahead.Fetch(piece_bytes);
        }
        now = next;
      }
      staged.Add(0, kSumVectors);
      store(space.sums, TileBlock{first_pair, pairs, begin, end});
    }
  }
  ReleaseTiles();
}

// Calls of(kind) with the kind as a constant, of packed weights or of rows.
template <class Of>
static BATON_INLINE void ForKind(PackedKind kind, const Of& of) {
  if (kind == PackedKind::kRowsBF16) return of.template operator()<PackedKind::kRowsBF16>();
  ForPackedKind(kind, of);
}

static void TileMatmul(const TileMatmulArgs& args) {
  ForKind(args.w.kind, [&args]<PackedKind kKind>() {
    const PackedWeights& w = args.w;
    const int64_t panel_bytes = w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind);
    MultiplyPairs<kKind>(
        {args.x, args.m, args.panel_begin, args.panel_end, args.ahead_panels, args.scratch},
        {w.data, w.data + panel_bytes, w.cols, 2, w.rows},
        [&args](const TileSums* sums, const TileBlock& block) { StoreTokens(args, sums, block); });
  });
}

// Of a block's gates and what they let through, panel by panel half a row of a tile.
template <class Activation>
static void StoreGated(const TileGateArgs& args, const TileSums* sums, const TileBlock& block) {
  const int64_t all_pairs = (args.m + 2 * kTileTokens - 1) / (2 * kTileTokens);
  const int64_t row_parts = args.gate.rows / 32;
  for (int64_t panel = block.panel_begin; panel < block.panel_end; ++panel) {
    const int64_t stretch = panel / 2 / kStretchParts * kStretchParts;
    const int64_t left = row_parts - stretch;
    const int64_t parts = left < kStretchParts ? left : kStretchParts;
    for (int64_t i = 0; i < block.pairs; ++i, ++sums) {
      const int64_t pair = block.first_pair + i;
      Bf16Tile* const tiles =
          args.out + (stretch * all_pairs + pair * parts + panel / 2 - stretch) * 2;
      const int64_t tokens = args.m - pair * 2 * kTileTokens;
      for (int64_t t = 0; t < 2 * kTileTokens && t < tokens; ++t) {
        const int64_t half = t / kTileTokens;
        const int64_t row = t % kTileTokens;
        const F32 gate = Load(sums->tiles[2 * half][row]);
        const F32 gated = Activation::Apply(gate) * Load(sums->tiles[2 * half + 1][row]);
        const auto rounded = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(gated));
        _mm256_store_si256(reinterpret_cast<__m256i*>(tiles[half].q[row] + panel % 2 * kPackedRows),
                           rounded);
      }
    }
  }
}

template <class Activation>
static void TileGate(const TileGateArgs& args) {
  ForKind(args.gate.kind, [&args]<PackedKind kKind>() {
    MultiplyPairs<kKind>(
        {args.x, args.m, args.panel_begin, args.panel_end, args.ahead_panels, args.scratch},
        {args.gate.data, args.up.data, args.gate.cols, 1, args.gate.rows},
        [&args](const TileSums* sums, const TileBlock& block) {
          StoreGated<Activation>(args, sums, block);
        });
  });
}

// A tile after the other: their rows are a kilobyte, which neighbouring columns of one token are
// not.
template <bool kNormed>
static void RoundToTilesOf(const RoundToTilesArgs& args) {
  const int64_t row_parts = args.cols / 32;
  const int64_t pairs = (args.m + 2 * kTileTokens - 1) / (2 * kTileTokens);
  for (int64_t token = args.token_begin; token < args.token_end;) {
    const int64_t next = (token / kTileTokens + 1) * kTileTokens;
    const int64_t end = next < args.token_end ? next : args.token_end;
    const int64_t pair = token / (2 * kTileTokens);
    const int64_t of_pair = token / kTileTokens % 2;
    float factors[kTileTokens];
    for (int64_t t = token; kNormed && t < end; ++t) {
      factors[t - token] = RmsFactor(args.x + t * args.cols, args.cols, args.epsilon);
    }
    for (int64_t stretch = 0; stretch < row_parts; stretch += kStretchParts) {
      const int64_t left = row_parts - stretch;
      const int64_t parts = left < kStretchParts ? left : kStretchParts;
      Bf16Tile* const tiles = args.out + (stretch * pairs + pair * parts) * 2 + of_pair;
      for (int64_t part = 0; part < parts; ++part) {
        const int64_t column = (stretch + part) * 32;
        F32 low_weight = {};
        F32 high_weight = {};
        if constexpr (kNormed) {
          low_weight = Load(args.norm + column);
          high_weight = Load(args.norm + column + 16);
        }
        for (int64_t t = token; t < end; ++t) {
          const float* const x = args.x + t * args.cols + column;
          F32 low = Load(x);
          F32 high = Load(x + 16);
          if constexpr (kNormed) {
            const F32 factor = Broadcast(factors[t - token]);
            low = low * factor * low_weight;
            high = high * factor * high_weight;
          }
          const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
          _mm512_store_si512(tiles[2 * part].q[t % kTileTokens], reinterpret_cast<__m512i>(both));
        }
      }
    }
    token = end;
  }
}

static void RoundToTiles(const RoundToTilesArgs& args) {
  args.norm == nullptr ? RoundToTilesOf<false>(args) : RoundToTilesOf<true>(args);
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
