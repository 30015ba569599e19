#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/kv_row-inl.h"
#include "engine/exec/cpu/kernels/soft_cap-inl.h"
#include "engine/exec/cpu/kernels/tiles-inl.h"

#if defined(__AMX_BF16__)

namespace baton::BATON_SIMD_NAMESPACE {

// Attention in tile registers, by online softmax over stretches of kTileKeys positions, which begin
// at multiples of it, so that what a query gives does not depend on where its prompt was cut. The
// keys and values of a stretch become bf16 once for all queries of a call.
//
// Scores are computed transposed, keys by vectors (a vector: one head of one query): then the
// largest and the sum of a vector's are lane by lane, keys are read as they lie, and two rows of
// weights side by side are an operand of the product with the values, which is transposed, too.

constexpr int64_t kTileKeys = 64;
constexpr int64_t kTileVectors = 32;  // a unit: two tiles of vectors

// Two by two tiles: sixteen keys, or dimensions, by sixteen vectors each.
using TileRowsF32 = float[16][16];

// Where a call's workspace has what.
struct TileAttentionSpace {
  int64_t steps;        // of 32 dimensions
  int64_t dim_tiles;    // of 16 dimensions; an even number
  int64_t units;        // of vectors
  Bf16Tile* q;          // [units][steps][2]: pairs of dimensions by vectors
  TileRowsF32* out;     // [units][dim_tiles][2]: dimensions by vectors
  float* maximums;      // [units * kTileVectors]
  float* sums;          // [units * kTileVectors]
  int32_t* ends;        // [units * kTileVectors], of the positions that a vector attends to
  uint16_t* keys;       // [kTileKeys][steps * 32]
  Bf16Tile* values;     // [dim_tiles][2]: dimensions by 32 keys
  TileRowsF32* scores;  // [kTileKeys / 16][2]: keys by vectors
  Bf16Tile* weights;    // [2][2]: pairs of keys by vectors
};

static BATON_INLINE TileAttentionSpace SpaceOf(const AttentionArgs& args) {
  TileAttentionSpace s;
  s.steps = (args.head_dim + 31) / 32;
  s.dim_tiles = 2 * s.steps;
  s.units = (args.queries * args.group + kTileVectors - 1) / kTileVectors;
  auto address = (reinterpret_cast<uintptr_t>(args.scratch) + 63) / 64 * 64;
  const auto take = [&address](auto*& p, int64_t count) {
    p = reinterpret_cast<std::remove_reference_t<decltype(p)>>(address);
    address += static_cast<uintptr_t>(count) * sizeof(*p);
  };
  take(s.q, s.units * s.steps * 2);
  take(s.out, s.units * s.dim_tiles * 2);
  take(s.maximums, s.units * kTileVectors);
  take(s.sums, s.units * kTileVectors);
  take(s.ends, s.units * kTileVectors);
  take(s.keys, kTileKeys * s.steps * 32);
  take(s.values, s.dim_tiles * 2);
  take(s.scores, kTileKeys / 16 * 2);
  take(s.weights, 4);
  return s;
}

// Columns become rows, of sixteen by sixteen times 32 bits.
static BATON_INLINE void Transpose16(__m512i (&v)[16]) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    t[2 * i] = _mm512_unpacklo_epi32(v[2 * i], v[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(v[2 * i], v[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    v[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    v[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    t[i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(v[i], v[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(v[8 + i], v[12 + i], 0xdd);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    v[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    v[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    v[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// 2^x for x <= 0, within 3e-6 of it; 0 below -149. NaN stays NaN.
static BATON_INLINE __m512 Exp2(__m512 x) {
  // x - floor(x); scalef takes the floor by itself.
  const __m512 f = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  // Of those that are 1 at 0 the one whose largest relative error over [0, 1) is least.
  __m512 p = _mm512_set1_ps(1.34266843e-2f);
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(5.22424743e-2f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(2.41280205e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(6.93044845e-1f));
  p = _mm512_fmadd_ps(p, f, _mm512_set1_ps(1));
  return _mm512_scalef_ps(p, x);
}

// Lanes [d, d + 16) of a row of `count`; zeros behind it.
template <class Row>
static BATON_INLINE __m512 SixteenOf(const Row& row, int64_t d, int64_t count) {
  if (d + 16 <= count) return row.Lanes(typename Row::Shared{}, d);
  if (d >= count) return _mm512_setzero_ps();
  return row.Partial(d, count - d);
}

// Queries as scores need them, times `factor`.
static void PlaceQueries(const AttentionArgs& args, const TileAttentionSpace& s, float factor) {
  const int64_t vectors = args.queries * args.group;
  for (int64_t first = 0; first < s.units * kTileVectors; first += 16) {
    for (int64_t step = 0; step < s.steps; ++step) {
      __m512i pairs[16];
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t vector = first + i;
        pairs[i] = _mm512_setzero_si512();
        if (vector >= vectors) continue;
        const F32Row row = {args.q + vector / args.group * args.stride +
                            vector % args.group * args.head_dim};
        const __m512 low = SixteenOf(row, 32 * step, args.head_dim);
        const __m512 high = SixteenOf(row, 32 * step + 16, args.head_dim);
        pairs[i] = reinterpret_cast<__m512i>(
            _mm512_cvtne2ps_pbh(_mm512_mul_ps(high, _mm512_set1_ps(factor)),
                                _mm512_mul_ps(low, _mm512_set1_ps(factor))));
      }
      Transpose16(pairs);
      Bf16Tile& tile = s.q[(first / kTileVectors * s.steps + step) * 2 + first % kTileVectors / 16];
      for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(tile.q[i], pairs[i]);
    }
  }
  for (int64_t vector = 0; vector < s.units * kTileVectors; ++vector) {
    const int64_t query = vector < vectors ? vector / args.group : args.queries - 1;
    s.ends[vector] = static_cast<int32_t>(args.positions + query);
    s.maximums[vector] = -1e30f;
    s.sums[vector] = 0;
  }
  __builtin_memset(s.out, 0, static_cast<size_t>(s.units * s.dim_tiles * 2) * sizeof(*s.out));
}

// Where the positions of a stretch are.
struct TileStretch {
  const std::byte* blocks[kTileKeys];  // null: outside of what is attended to
  int64_t in_block[kTileKeys];
};

static BATON_INLINE TileStretch StretchAt(const AttentionArgs& args, int64_t start, int64_t first,
                                          int64_t end) {
  TileStretch stretch;
  int64_t block = start / args.block_tokens;
  int64_t in_block = start % args.block_tokens;
  for (int64_t key = 0; key < kTileKeys; ++key) {
    const bool seen = start + key >= first && start + key < end;
    stretch.blocks[key] = seen ? args.blocks[block] : nullptr;
    stretch.in_block[key] = in_block;
    if (++in_block < args.block_tokens) continue;
    in_block = 0;
    ++block;
  }
  return stretch;
}

// A stretch's keys and values as bf16; those outside of it are zeros.
template <class Row, int64_t kElementBytes, bool kScaled>
static void PlaceKeysAndValues(const AttentionArgs& args, const TileAttentionSpace& s,
                               const TileStretch& stretch) {
  const int64_t row_bytes = args.head_dim * kElementBytes;
  struct Position {
    Row row;
    __m512 scale;
    bool none;
  };
  const auto position_of = [&](int64_t key, int64_t area) {
    if (stretch.blocks[key] == nullptr) return Position{Row{}, _mm512_setzero_ps(), true};
    const std::byte* const p = stretch.blocks[key] + area;
    float scale = 1;
    if constexpr (kScaled) {
      __builtin_memcpy(&scale, p + args.block_tokens * row_bytes + stretch.in_block[key] * 4,
                       sizeof(scale));
    }
    return Position{Row::At(p + stretch.in_block[key] * row_bytes), _mm512_set1_ps(scale), false};
  };
  const auto sixteen = [&](const Position& position, int64_t d) {
    if (position.none) return _mm512_setzero_ps();
    __m512 v = SixteenOf(position.row, d, args.head_dim);
    if constexpr (kScaled) v = _mm512_mul_ps(v, position.scale);
    return v;
  };
  for (int64_t key = 0; key < kTileKeys; ++key) {
    const Position position = position_of(key, args.key_offset);
    uint16_t* const out = s.keys + key * s.steps * 32;
    for (int64_t d = 0; d < s.steps * 32; d += 32) {
      const __m512bh both = _mm512_cvtne2ps_pbh(sixteen(position, d + 16), sixteen(position, d));
      _mm512_store_si512(out + d, reinterpret_cast<__m512i>(both));
    }
  }
  for (int64_t half = 0; half < 2; ++half) {
    for (int64_t d = 0; d < s.dim_tiles; ++d) {
      __m512i pairs[16];
      for (int64_t i = 0; i < 16; ++i) {
        const int64_t key = half * 32 + 2 * i;
        pairs[i] = PairsOfBF16(sixteen(position_of(key, args.value_offset), 16 * d),
                               sixteen(position_of(key + 1, args.value_offset), 16 * d));
      }
      Transpose16(pairs);
      for (int64_t i = 0; i < 16; ++i) _mm512_store_si512(s.values[2 * d + half].q[i], pairs[i]);
    }
  }
}

// Asks for the keys and values [begin, end) of a stretch, rows of so many bytes.
static BATON_INLINE void FetchPositions(const AttentionArgs& args, const TileStretch& stretch,
                                        int64_t begin, int64_t end, int64_t row_bytes) {
  for (int64_t key = begin; key < end; ++key) {
    if (stretch.blocks[key] == nullptr) continue;
    const std::byte* const p = stretch.blocks[key] + stretch.in_block[key] * row_bytes;
    for (int64_t i = 0; i < row_bytes; i += 64) {
      __builtin_prefetch(p + args.key_offset + i, 0, 2);
      __builtin_prefetch(p + args.value_offset + i, 0, 2);
    }
  }
}

// scores[key][vector] of a unit's vectors.
static BATON_INLINE void ScoreTiles(const TileAttentionSpace& s, int64_t unit) {
  const int64_t row_bytes = s.steps * 64;
  for (int64_t tile = 0; tile < kTileKeys / 16; tile += 2) {
    const uint16_t* keys = s.keys + tile * 16 * s.steps * 32;
    const Bf16Tile* q = s.q + unit * s.steps * 2;
    ClearTile<4>();
    ClearTile<5>();
    ClearTile<6>();
    ClearTile<7>();
    for (int64_t step = 0; step < s.steps; ++step, keys += 32, q += 2) {
      LoadTile<0>(keys, row_bytes);
      LoadTile<2>(q, 64);
      AddTileProduct<4, 0, 2>();
      LoadTile<3>(q + 1, 64);
      AddTileProduct<5, 0, 3>();
      LoadTile<1>(keys + 16 * s.steps * 32, row_bytes);
      AddTileProduct<6, 1, 2>();
      AddTileProduct<7, 1, 3>();
    }
    StoreTile<4>(s.scores[2 * tile]);
    StoreTile<5>(s.scores[2 * tile + 1]);
    StoreTile<6>(s.scores[2 * tile + 2]);
    StoreTile<7>(s.scores[2 * tile + 3]);
  }
}

// What of a stretch a tile's vectors see; the others' weights are 0.
struct TileMask {
  __m512i ends;
  __m512i begins;

  BATON_INLINE __mmask16 At(int64_t position) const {
    const __m512i p = _mm512_set1_epi32(static_cast<int32_t>(position));
    return _mm512_cmplt_epi32_mask(p, ends) & _mm512_cmpge_epi32_mask(p, begins);
  }
};

// Turns the scores of sixteen vectors, which are in units of ln(2), into weights relative to the
// new maximum; returns what that scales the earlier ones by.
template <bool kMasked>
static BATON_INLINE __m512 WeighTile(const TileAttentionSpace& s, int64_t vector, int64_t tile,
                                     int64_t start, const TileMask& mask) {
  const auto row = [&](int64_t key) {
    return _mm512_load_ps(s.scores[key / 16 * 2 + tile][key % 16]);
  };
  const __m512 before = _mm512_load_ps(s.maximums + vector);
  __m512 largest[4] = {before, before, before, before};
  for (int64_t key = 0; key < kTileKeys; key += 4) {
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      if constexpr (kMasked) {
        largest[i] =
            _mm512_mask_max_ps(largest[i], mask.At(start + key + i), row(key + i), largest[i]);
      } else {
        largest[i] = _mm512_max_ps(row(key + i), largest[i]);
      }
    }
  }
  const __m512 maximum =
      _mm512_max_ps(_mm512_max_ps(largest[0], largest[1]), _mm512_max_ps(largest[2], largest[3]));
  __m512 sums[4] = {};
  for (int64_t key = 0; key < kTileKeys; key += 4) {
    __m512 weights[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
      weights[i] = Exp2(_mm512_sub_ps(row(key + i), maximum));
      if constexpr (kMasked) {
        weights[i] = _mm512_maskz_mov_ps(mask.At(start + key + i), weights[i]);
      }
      sums[i] = _mm512_add_ps(sums[i], weights[i]);
    }
    Bf16Tile& out = s.weights[key / 32 * 2 + tile];
    _mm512_store_si512(out.q[key % 32 / 2], PairsOfBF16(weights[0], weights[1]));
    _mm512_store_si512(out.q[key % 32 / 2 + 1], PairsOfBF16(weights[2], weights[3]));
  }
  const __m512 rescale = Exp2(_mm512_sub_ps(before, maximum));
  const __m512 sum =
      _mm512_add_ps(_mm512_add_ps(sums[0], sums[1]), _mm512_add_ps(sums[2], sums[3]));
  _mm512_store_ps(s.sums + vector, _mm512_fmadd_ps(_mm512_load_ps(s.sums + vector), rescale, sum));
  _mm512_store_ps(s.maximums + vector, maximum);
  return rescale;
}

// out[dimension][vector] = out * rescale + values . weights.
static BATON_INLINE void MixTiles(const TileAttentionSpace& s, int64_t unit,
                                  const __m512 (&rescale)[2]) {
  TileRowsF32* const out = s.out + unit * s.dim_tiles * 2;
  for (int64_t tile = 0; tile < 2; ++tile) {
    const __m512 one = _mm512_set1_ps(1);
    if (_mm512_cmpeq_ps_mask(rescale[tile], one) == 0xffff) continue;
    for (int64_t d = 0; d < s.dim_tiles; ++d) {
      float(*const rows)[16] = out[2 * d + tile];
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        _mm512_store_ps(rows[i], _mm512_mul_ps(_mm512_load_ps(rows[i]), rescale[tile]));
      }
    }
  }
  for (int64_t d = 0; d < s.dim_tiles; d += 2) {
    LoadTile<4>(out[2 * d], 64);
    LoadTile<5>(out[2 * d + 1], 64);
    LoadTile<6>(out[2 * d + 2], 64);
    LoadTile<7>(out[2 * d + 3], 64);
    for (int64_t half = 0; half < 2; ++half) {
      LoadTile<0>(s.values + 2 * d + half, 64);
      LoadTile<2>(s.weights + 2 * half, 64);
      AddTileProduct<4, 0, 2>();
      LoadTile<3>(s.weights + 2 * half + 1, 64);
      AddTileProduct<5, 0, 3>();
      LoadTile<1>(s.values + 2 * d + 2 + half, 64);
      AddTileProduct<6, 1, 2>();
      AddTileProduct<7, 1, 3>();
    }
    StoreTile<4>(out[2 * d]);
    StoreTile<5>(out[2 * d + 1]);
    StoreTile<6>(out[2 * d + 2]);
    StoreTile<7>(out[2 * d + 3]);
  }
}

// A unit meets the stretch that begins at `start`.
static void AttendTiles(const AttentionArgs& args, const TileAttentionSpace& s, int64_t unit,
                        int64_t start) {
  const int64_t vectors = args.queries * args.group;
  const int64_t vector = unit * kTileVectors;
  const int64_t last = vector + kTileVectors < vectors ? vector + kTileVectors : vectors;
  const int64_t first_end = args.positions + vector / args.group;
  const int64_t last_end = args.positions + (last - 1) / args.group;
  // Of a vector's window, up to the end e: from e - window on.
  const bool seen =
      start < last_end && (args.window == 0 || start + kTileKeys > first_end - args.window);
  if (!seen) return;
  const bool whole =
      start + kTileKeys <= first_end && (args.window == 0 || start >= last_end - args.window);
  ScoreTiles(s, unit);
  if (args.score_cap > 0) {
    constexpr float kLog2E = 1.44269504f;
    float* const scores = s.scores[0][0];
    SoftCap({scores, kTileKeys * kTileVectors, args.score_cap});
    for (int64_t i = 0; i < kTileKeys * kTileVectors; ++i) scores[i] *= kLog2E;
  }
  __m512 rescale[2];
  for (int64_t tile = 0; tile < 2; ++tile) {
    const __m512i ends = _mm512_load_si512(s.ends + vector + 16 * tile);
    const int32_t window = args.window > 0 ? static_cast<int32_t>(args.window) : 0x40000000;
    const TileMask mask = {ends, _mm512_sub_epi32(ends, _mm512_set1_epi32(window))};
    rescale[tile] = whole ? WeighTile<false>(s, vector + 16 * tile, tile, start, mask)
                          : WeighTile<true>(s, vector + 16 * tile, tile, start, mask);
  }
  MixTiles(s, unit, rescale);
}

static void StoreAttended(const AttentionArgs& args, const TileAttentionSpace& s) {
  const int64_t vectors = args.queries * args.group;
  for (int64_t first = 0; first < vectors; first += 16) {
    const int64_t unit = first / kTileVectors;
    const __m512 sum = _mm512_load_ps(s.sums + first);
    for (int64_t d = 0; d < args.head_dim; d += 16) {
      const TileRowsF32& tile =
          s.out[(unit * s.dim_tiles + d / 16) * 2 + first % kTileVectors / 16];
      __m512i rows[16];
      for (int64_t i = 0; i < 16; ++i) {
        rows[i] = reinterpret_cast<__m512i>(_mm512_div_ps(_mm512_load_ps(tile[i]), sum));
      }
      Transpose16(rows);
      const int64_t left = args.head_dim - d;
      const auto some = static_cast<__mmask16>(left < 16 ? (1 << left) - 1 : 0xffff);
      for (int64_t vector = first; vector < first + 16 && vector < vectors; ++vector) {
        float* const out =
            args.out + vector / args.group * args.stride + vector % args.group * args.head_dim + d;
        _mm512_mask_storeu_ps(out, some, reinterpret_cast<__m512>(rows[vector - first]));
      }
    }
  }
}

template <class Row, int64_t kElementBytes, bool kScaled>
static void TileAttentionOver(const AttentionArgs& args) {
  const TileAttentionSpace s = SpaceOf(args);
  constexpr float kLog2E = 1.44269504f;
  PlaceQueries(args, s, args.score_cap > 0 ? args.scale : args.scale * kLog2E);
  const int64_t end = args.positions + args.queries - 1;
  const int64_t first =
      args.window > 0 && args.positions > args.window ? args.positions - args.window : 0;
  ConfigureWholeTiles();
  const int64_t begin = first / kTileKeys * kTileKeys;
  TileStretch stretch = StretchAt(args, begin, first, end);
  for (int64_t start = begin; start < end; start += kTileKeys) {
    PlaceKeysAndValues<Row, kElementBytes, kScaled>(args, s, stretch);
    // The next stretch comes from memory while this one is attended to.
    stretch = StretchAt(args, start + kTileKeys, first, end);
    for (int64_t unit = 0; unit < s.units; ++unit) {
      FetchPositions(args, stretch, unit * kTileKeys / s.units, (unit + 1) * kTileKeys / s.units,
                     args.head_dim * kElementBytes);
      AttendTiles(args, s, unit, start);
    }
  }
  ReleaseTiles();
  StoreAttended(args, s);
}

static void TileAttention(const AttentionArgs& args) {
  switch (args.type) {
    case KvType::kF32:
      return TileAttentionOver<F32Row, 4, false>(args);
    case KvType::kF16:
      return TileAttentionOver<F16Row, 2, false>(args);
    case KvType::kBF16:
      return TileAttentionOver<BF16Row, 2, false>(args);
    case KvType::kInt8:
      return TileAttentionOver<I8Row, 1, true>(args);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE

#endif  // __AMX_BF16__
