#pragma once

#include "engine/exec/cpu/kernels/gate-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/rms_norm-inl.h"
#include "engine/exec/cpu/kernels/tile_dequantise-inl.h"
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

// A pair of tiles of tokens by a turn's panels.
struct TileUnit {
  const Bf16Tile* x;
  const Bf16Tile* w;
  int64_t parts;
  const StagedSums& before;  // added up meanwhile
  TileSums& sums;
  TileAhead& ahead;
  int64_t ahead_bytes;  // asked for beside a part
};

// sums = the products of the unit's tiles, which are two apart; zeros where there are none.
template <int kTokenTiles, int kPanels>
static BATON_INLINE void MultiplyUnit(const TileUnit& unit) {
  ClearSums();
  unit.before.Add(0, kSumVectors);
  for (int64_t i = 0; i < unit.parts; ++i) {
    AddPart<kTokenTiles, kPanels>(unit.x + 2 * i, unit.w + 2 * i);
    unit.ahead.Fetch(unit.ahead_bytes);
  }
  StoreSums(unit.sums);
}

// A tile's steps from kFirst on, so many of them after each call of one().
template <int kFirst, int kSteps, PackedKind kKind, class One>
static BATON_INLINE void StepsBeside(const One& one, const TileToDequantise<kKind>& tile) {
  if constexpr (kFirst < 8) {
    one();
    DequantiseSteps<kFirst, kSteps>(tile);
    StepsBeside<kFirst + kSteps, kSteps>(one, tile);
  }
}

// The same of two by two, while the next turn's tiles are dequantised: so many steps of them, of
// eight each, beside a part. Four steps take less than its four products; where there are few
// tokens, more are needed for all of the turn, and products are what is done beside.
template <int kSteps, PackedKind kKind>
static BATON_INLINE void MultiplyUnitBeside(const TileUnit& unit, TurnToDequantise<kKind>& next) {
  ClearSums();
  const int64_t parts = unit.parts;
  int64_t added = 0;
  int64_t part = 0;
  const int64_t vectors = parts < 16 ? 8 : 4;  // added beside a part
  const auto one = [&] {
    AddPart<2, 2>(unit.x + 2 * part, unit.w + 2 * part);
    const int64_t end = added + vectors < kSumVectors ? added + vectors : kSumVectors;
    unit.before.Add(added, end);
    unit.ahead.Fetch(unit.ahead_bytes);
    added = end;
    ++part;
  };
  for (; part + 8 / kSteps <= parts && next.done < next.count(); ++next.done) {
    StepsBeside<0, kSteps>(one, next.Tile(next.done));
  }
  while (part < parts) one();
  unit.before.Add(added, kSumVectors);
  StoreSums(unit.sums);
}

// A unit of so many tokens, or more, in a block of so many pairs; `whole`: of two panels.
template <PackedKind kKind>
static BATON_INLINE void MultiplyUnitOf(const TileUnit& unit, int64_t tokens, int64_t pairs,
                                        bool whole, TurnToDequantise<kKind>& next) {
  const bool two = tokens > kTileTokens;
  if (!whole) {
    two ? MultiplyUnit<2, 1>(unit) : MultiplyUnit<1, 1>(unit);
  } else if (!two) {
    MultiplyUnit<1, 2>(unit);
  } else if (pairs < 4) {
    MultiplyUnitBeside<8>(unit, next);
  } else if (pairs < kTilePairs) {
    MultiplyUnitBeside<4>(unit, next);
  } else {
    MultiplyUnitBeside<1>(unit, next);
  }
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

// A block's turns: all pairs of panels and stretches, stretch by stretch.
template <PackedKind kKind>
struct TileTurns {
  TileTurns(const TileInput& input, const PanelPairs& panel_pairs, const TileBlock& of)
      : args(input),
        w(panel_pairs),
        block(of),
        row_parts(w.cols / 32),
        panel_bytes(w.cols / PackedBlockColumns(kKind) * PackedBlockBytes(kKind)),
        of_stretch((block.panel_end - block.panel_begin + w.apart - 1) / w.apart),
        count((row_parts + kStretchParts - 1) / kStretchParts * of_stretch) {}

  BATON_INLINE PanelTurn At(int64_t i) const {
    const int64_t part = i / of_stretch * kStretchParts;
    const int64_t rest = row_parts - part;
    const int64_t panel = block.panel_begin + i % of_stretch * w.apart;
    return {panel, part, rest < kStretchParts ? rest : kStretchParts,
            panel + w.apart <= block.panel_end};
  }
  BATON_INLINE TurnToDequantise<kKind> WeightsOf(int64_t i, Bf16Tile* out) const {
    const PanelTurn turn = At(i);
    const int64_t at = turn.panel * panel_bytes;
    const int64_t rows = w.rows - turn.panel * kPackedRows;
    const TilePanel first = {w.first + at, w.cols, rows};
    const TilePanel second = {w.second + at, w.cols, rows - (w.apart - 1) * kPackedRows};
    return {turn, {first, second}, out};
  }
  // What is dequantised after the next turn, or what the caller will want after these panels: it
  // comes from memory meanwhile.
  BATON_INLINE TileAhead AheadOf(int64_t i) const {
    const PanelTurn turn = At(i);
    const int64_t part_bytes = panel_bytes / row_parts;
    // Where a panel's columns follow one another; else rows do, each with its own.
    constexpr bool kByRows = kKind == PackedKind::kRowsBF16;
    const int64_t column_bytes = kByRows ? 64 : part_bytes;
    int64_t from = block.panel_end * panel_bytes;
    int64_t bytes = turn.parts * part_bytes;
    if (args.ahead_panels > 0) {
      const int64_t panel = turn.panel + args.ahead_panels;
      from = panel * panel_bytes + turn.part * column_bytes;
      if ((panel + w.apart - 1) * kPackedRows >= w.rows) bytes = 0;
    } else if (i + 2 < count) {
      const PanelTurn later = At(i + 2);
      from = later.panel * panel_bytes + later.part * column_bytes;
    }
    return {{w.first + from, w.second + from},
            bytes,
            kByRows ? turn.parts * column_bytes : 0,
            w.cols * 2};
  }

  const TileInput& args;
  const PanelPairs& w;
  const TileBlock block;
  const int64_t row_parts;
  const int64_t panel_bytes;
  const int64_t of_stretch;
  const int64_t count;
};

template <PackedKind kKind>
static void MultiplyBlock(const TileTurns<kKind>& turns, int64_t all_pairs,
                          TileMatmulSpace& space) {
  const int64_t first_pair = turns.block.first_pair;
  const int64_t pairs = turns.block.pairs;
  TurnToDequantise<kKind> now = turns.WeightsOf(0, space.weights[0][0]);
  StagedSums staged;
  for (int64_t i = 0; i < turns.count; ++i) {
    const PanelTurn& turn = now.turn;
    const int64_t parts = turn.parts;
    TileAhead ahead = turns.AheadOf(i);
    const int64_t ahead_bytes = (ahead.bytes / (pairs * parts) + 63) / 64 * 64;
    now.Rest([&] { ahead.Fetch(ahead_bytes); });
    // The next turn's weights are dequantised beside these products.
    TurnToDequantise<kKind> next =
        turns.WeightsOf(i + 1 < turns.count ? i + 1 : i, space.weights[(i + 1) % 2][0]);
    if (i + 1 == turns.count) next.done = next.count();
    // Tiles of a stretch of columns follow one another, pair by pair.
    const Bf16Tile* x = turns.args.x + (turn.part * all_pairs + first_pair * parts) * 2;
    TileSums* sums = space.sums + i % turns.of_stretch * pairs;
    TileFence();
    for (int64_t pair = 0; pair < pairs; ++pair, x += 2 * parts, ++sums) {
      TileSums& stage = space.staged[(i * pairs + pair) % 2];
      const int64_t tokens = turns.args.m - (first_pair + pair) * 2 * kTileTokens;
      const TileUnit unit = {x, now.out, parts, staged, stage, ahead, ahead_bytes};
      MultiplyUnitOf(unit, tokens, pairs, turn.whole, next);
      staged = {&stage, sums, turn.part == 0};
    }
    now = next;
  }
  staged.Add(0, kSumVectors);
}

// Weights of one pair of tiles of tokens, which are used once: of few parts at a time, so that they
// and the tokens of a stretch stay in the first cache.
template <PackedKind kKind>
struct PartsAhead {
  static constexpr int64_t kParts = 4;  // that there is room for
  static constexpr int64_t kAhead = 2;  // parts from being stored to being loaded

  PartsAhead(const TileTurns<kKind>& of, Bf16Tile (*to)[2])
      : turns(of), out(to), turn(of.WeightsOf(0, to[0])) {
    for (int i = 0; i < kAhead; ++i) Next();
  }
  // Dequantises a part more, where there is one.
  void Next() {
    if (index == turns.count) return;
    Bf16Tile* const tiles = out[stored++ % kParts];
    for (int64_t panel = 0; panel < (turn.turn.whole ? 2 : 1); ++panel) {
      DequantiseTile(
          TileToDequantise<kKind>(turn.panels[panel], turn.turn.part + part, tiles[panel]));
    }
    if (++part < turn.turn.parts) return;
    part = 0;
    if (++index < turns.count) turn = turns.WeightsOf(index, out[0]);
  }
  // What is to be used next.
  BATON_INLINE const Bf16Tile* Take() { return out[taken++ % kParts]; }

  const TileTurns<kKind>& turns;
  Bf16Tile (*const out)[2];
  TurnToDequantise<kKind> turn;
  int64_t index = 0;  // of the turn
  int64_t part = 0;   // of it
  int64_t stored = 0;
  int64_t taken = 0;
};

template <int kTokenTiles, PackedKind kKind>
static void MultiplyOnePair(const TileTurns<kKind>& turns, int64_t all_pairs,
                            TileMatmulSpace& space) {
  PartsAhead<kKind> weights(turns, space.weights[0]);
  StagedSums staged;
  for (int64_t i = 0; i < turns.count; ++i) {
    const PanelTurn turn = turns.At(i);
    TileAhead ahead = turns.AheadOf(i);
    const int64_t ahead_bytes = (ahead.bytes / turn.parts + 63) / 64 * 64;
    const Bf16Tile* const x =
        turns.args.x + (turn.part * all_pairs + turns.block.first_pair * turn.parts) * 2;
    TileSums& stage = space.staged[i % 2];
    const int64_t vectors = (kSumVectors + turn.parts - 1) / turn.parts;  // added beside a part
    ClearSums();
    for (int64_t part = 0; part < turn.parts; ++part) {
      if (turn.whole) {
        AddPart<kTokenTiles, 2>(x + 2 * part, weights.Take());
      } else {
        AddPart<kTokenTiles, 1>(x + 2 * part, weights.Take());
      }
      const int64_t begin = part * vectors;
      const int64_t end = begin + vectors < kSumVectors ? begin + vectors : kSumVectors;
      staged.Add(begin, end);
      ahead.Fetch(ahead_bytes);
      weights.Next();
    }
    StoreSums(stage);
    staged = {&stage, space.sums + i % turns.of_stretch, turn.part == 0};
  }
  staged.Add(0, kSumVectors);
}

// Calls store(sums, block) for what is done of the product.
template <PackedKind kKind, class Store>
static void MultiplyPairs(const TileInput& args, const PanelPairs& w, const Store& store) {
  const auto address = reinterpret_cast<uintptr_t>(args.scratch);
  auto& space = *reinterpret_cast<TileMatmulSpace*>((address + 63) / 64 * 64);
  const int64_t all_pairs = (args.m + 2 * kTileTokens - 1) / (2 * kTileTokens);

  ConfigureWholeTiles();
  for (int64_t first_pair = 0; first_pair < all_pairs; first_pair += kTilePairs) {
    const int64_t left = all_pairs - first_pair;
    const int64_t pairs = left < kTilePairs ? left : kTilePairs;
    const int64_t tokens = args.m - first_pair * 2 * kTileTokens;
    const int64_t panels_at_once = kTileUnits / pairs * w.apart;
    for (int64_t begin = args.panel_begin; begin < args.panel_end; begin += panels_at_once) {
      const int64_t end =
          args.panel_end - begin < panels_at_once ? args.panel_end : begin + panels_at_once;
      const TileBlock block = {first_pair, pairs, begin, end};
      const TileTurns<kKind> turns(args, w, block);
      if (pairs > 1) {
        MultiplyBlock(turns, all_pairs, space);
      } else if (tokens > kTileTokens) {
        MultiplyOnePair<2>(turns, all_pairs, space);
      } else {
        MultiplyOnePair<1>(turns, all_pairs, space);
      }
      store(space.sums, block);
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
