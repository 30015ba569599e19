#pragma once

#include "engine/exec/cpu/kernels/dot-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/kv_row-inl.h"
#include "engine/exec/cpu/kernels/soft_cap-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// A query's state while it walks the blocks: out / sum is the attention so far, its scores taken
// relative to the largest one.
struct OnlineSoftmax {
  float maximum;
  float sum;
  float rescale;   // what this block's larger maximum scales the earlier sums by
  int32_t behind;  // its position, counted from the first query's
};
static_assert(sizeof(OnlineSoftmax) == 4 * sizeof(float));

// A call's own copies, of all its positions' heads, one vector after another.
struct AttentionSpace {
  OnlineSoftmax* states;  // [vectors]
  float* scores;          // [vectors, block_tokens]
  float* q;               // [vectors, head_dim]
  float* out;             // [vectors, head_dim]
  float* expanded;        // [block_tokens, head_dim]
};
// Vectors from which on a block of a smaller type is converted once for all of them.
constexpr int64_t kExpandFrom = 8;

// A register tile of queries by keys, as of tokens by weight rows.
constexpr int kAttentionTile = kLanes == 16 ? 4 : 2;
constexpr int kAttentionKeys = 4;

#if defined(__AVX512F__)
// Sixteen sums are added up at once: those of so many times kAttentionKeys keys.
template <int kQueries>
constexpr int kKeyTiles = kAttentionTile / kQueries;

// As ScoreKeyTiles, for kKeyTiles<kQueries> times kAttentionKeys keys.
template <class Row, int kQueries>
static BATON_INLINE void ScoreSixteen(const float* q, int64_t head_dim, const std::byte* keys,
                                      int64_t row_bytes, float* scores, int64_t stride) {
  constexpr int kTiles = kKeyTiles<kQueries>;
  F32 sums[4][kAttentionKeys] = {};
#pragma GCC unroll 4
  for (int tile = 0; tile < kTiles; ++tile, keys += kAttentionKeys * row_bytes) {
    const Row rows[kAttentionKeys] = {Row::At(keys), Row::At(keys + row_bytes),
                                      Row::At(keys + 2 * row_bytes), Row::At(keys + 3 * row_bytes)};
    F32 of_tile[kQueries][kAttentionKeys];
    DotVectors(rows, q, head_dim, head_dim, of_tile);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
#pragma GCC unroll 4
      for (int k = 0; k < kAttentionKeys; ++k) sums[i * kTiles + tile][k] = of_tile[i][k];
    }
  }
  float dots[4][kAttentionKeys];
  SumTile(sums, dots);
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i) {
    __builtin_memcpy(scores + i * stride, dots[i * kTiles], kTiles * sizeof(dots[0]));
  }
}
#endif

// scores[i * stride + t] = q[i] . keys[t], for kQueries queries, head_dim apart, and `count` keys
// of one block, row_bytes apart.
template <class Row, int kQueries>
static BATON_INLINE void ScoreKeyTiles(const float* q, int64_t head_dim, const std::byte* keys,
                                       int64_t row_bytes, int64_t count, float* scores,
                                       int64_t stride) {
  int64_t t = 0;
#if defined(__AVX512F__)
  constexpr int64_t kAtOnce = kKeyTiles<kQueries> * kAttentionKeys;
  for (; t + kAtOnce <= count; t += kAtOnce) {
    ScoreSixteen<Row, kQueries>(q, head_dim, keys + t * row_bytes, row_bytes, scores + t, stride);
  }
#endif
  for (; t + kAttentionKeys <= count; t += kAttentionKeys) {
    const std::byte* key = keys + t * row_bytes;
    const Row rows[kAttentionKeys] = {Row::At(key), Row::At(key + row_bytes),
                                      Row::At(key + 2 * row_bytes), Row::At(key + 3 * row_bytes)};
    float dots[kQueries][kAttentionKeys];
    DotTile(rows, q, head_dim, head_dim, dots);
    for (int i = 0; i < kQueries; ++i) {
      __builtin_memcpy(scores + i * stride + t, dots[i], sizeof(dots[i]));
    }
  }
  for (; t < count; ++t) {
    const Row rows[1] = {Row::At(keys + t * row_bytes)};
    float dots[kQueries][1];
    DotTile(rows, q, head_dim, head_dim, dots);
    for (int i = 0; i < kQueries; ++i) scores[i * stride + t] = dots[i][0];
  }
}

static BATON_INLINE void MultiplyAll(float factor, int64_t count, float* x) {
  int64_t t = 0;
  for (; t + kLanes <= count; t += kLanes) Store(Load(x + t) * factor, x + t);
  for (; t < count; ++t) x[t] *= factor;
}

// x[t] *= scales[t]: the scales of a block's int8 vectors, [count] f32.
static BATON_INLINE void MultiplyBy(const std::byte* scales, int64_t count, float* x) {
  const auto* factors = reinterpret_cast<const float*>(scales);
  int64_t t = 0;
  for (; t + kLanes <= count; t += kLanes) Store(Load(x + t) * Load(factors + t), x + t);
  if (const int64_t rest = count - t; rest > 0) {
    StorePartial(LoadPartial(x + t, rest) * LoadPartial(factors + t, rest), x + t, rest);
  }
}

// The largest of `count` values and `largest`.
static BATON_INLINE float Largest(const float* x, int64_t count, float largest) {
  int64_t t = 0;
  if (count >= kLanes) {
    F32 lanes = Broadcast(largest);
    for (; t + kLanes <= count; t += kLanes) {
      const F32 v = Load(x + t);
      lanes = Select(v > lanes, v, lanes);
    }
    largest = Max(lanes);
  }
  for (; t < count; ++t) largest = x[t] > largest ? x[t] : largest;
  return largest;
}

// Turns a block's scores into weights relative to the new maximum.
static BATON_INLINE void SoftmaxBlock(float* scores, int64_t count, bool first,
                                      OnlineSoftmax* state) {
  const float maximum = Largest(scores, count, first ? scores[0] : state->maximum);
  state->rescale = first                       ? 0.0f
                   : maximum == state->maximum ? 1.0f
                                               : Exp(Broadcast(state->maximum - maximum))[0];
  state->maximum = maximum;
  F32 sums = {};
  int64_t t = 0;
  for (; t + kLanes <= count; t += kLanes) {
    const F32 weights = Exp(Load(scores + t) - maximum);
    sums += weights;
    Store(weights, scores + t);
  }
  float sum = Sum(sums);
  if (const int64_t rest = count - t; rest > 0) {
    StorePartial(Exp(LoadPartial(scores + t, rest) - maximum), scores + t, rest);
    for (; t < count; ++t) sum += scores[t];
  }
  state->sum = MulAdd(Broadcast(state->sum), Broadcast(state->rescale), Broadcast(sum))[0];
}

// What some queries, head_dim apart, add of a block's values.
struct WeightedValues {
  const std::byte* values;  // [count] vectors, row_bytes apart
  int64_t row_bytes;
  int64_t count;
  const float* weights;  // [queries], stride apart, [count]
  int64_t stride;
  const float* rescale;  // [queries]
  int64_t head_dim;
  float* out;  // [queries, head_dim]
};

// out[d] = out[d] * rescale + sum over t of weights[t] * values[t][d], for kVectors vectors of d
// and kQueries queries.
template <class Row, int kQueries, int kVectors>
static BATON_INLINE void AddValueVectors(const WeightedValues& v, int64_t d) {
  F32 sums[kQueries][kVectors];
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      sums[i][k] = Load(v.out + i * v.head_dim + d + k * kLanes) * v.rescale[i];
    }
  }
  for (int64_t t = 0; t < v.count; ++t) {
    const Row value = Row::At(v.values + t * v.row_bytes);
    F32 vectors[kVectors];
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) {
      vectors[k] = value.Lanes(typename Row::Shared{}, d + k * kLanes);
    }
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      const F32 weight = Broadcast(v.weights[i * v.stride + t]);
#pragma GCC unroll 4
      for (int k = 0; k < kVectors; ++k) sums[i][k] = MulAdd(weight, vectors[k], sums[i][k]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) Store(sums[i][k], v.out + i * v.head_dim + d + k * kLanes);
  }
}

template <class Row, int kQueries>
static BATON_INLINE void AddValues(const WeightedValues& v) {
  int64_t d = 0;
  for (; d + 4 * kLanes <= v.head_dim; d += 4 * kLanes) AddValueVectors<Row, kQueries, 4>(v, d);
  for (; d + 2 * kLanes <= v.head_dim; d += 2 * kLanes) AddValueVectors<Row, kQueries, 2>(v, d);
  for (; d + kLanes <= v.head_dim; d += kLanes) AddValueVectors<Row, kQueries, 1>(v, d);
  const int64_t rest = v.head_dim - d;
  if (rest == 0) return;
  F32 sums[kQueries];
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i) {
    sums[i] = LoadPartial(v.out + i * v.head_dim + d, rest) * v.rescale[i];
  }
  for (int64_t t = 0; t < v.count; ++t) {
    const F32 value = Row::At(v.values + t * v.row_bytes).Partial(d, rest);
#pragma GCC unroll 4
    for (int i = 0; i < kQueries; ++i) {
      sums[i] = MulAdd(Broadcast(v.weights[i * v.stride + t]), value, sums[i]);
    }
  }
#pragma GCC unroll 4
  for (int i = 0; i < kQueries; ++i) StorePartial(sums[i], v.out + i * v.head_dim + d, rest);
}

// A block's positions as a query meets them: those of [begin, end), counted from the block's first;
// perhaps none.
struct BlockRange {
  int64_t begin;
  int64_t end;
};

static BATON_INLINE BlockRange RangeIn(const AttentionArgs& args, const OnlineSoftmax& state,
                                       int64_t block) {
  const int64_t positions = args.positions + state.behind;
  const int64_t first =
      args.window > 0 && positions > args.window ? positions - args.window : int64_t{0};
  const int64_t start = block * args.block_tokens;
  const int64_t end = positions - start < args.block_tokens ? positions - start : args.block_tokens;
  return {first > start ? first - start : 0, end};
}

// kQueries queries, from `vector` on, meet a block's keys.
template <class Row, bool kScaled, int kQueries>
static BATON_INLINE void WeighKeys(const AttentionArgs& args, const AttentionSpace& space,
                                   int64_t vector, int64_t block, const std::byte* keys,
                                   int64_t row_bytes, const std::byte* key_scales,
                                   const std::byte* value_scales) {
  BlockRange all =
      RangeIn(args, space.states[vector], block);  // of all the queries: the first's first position
  all.end = RangeIn(args, space.states[vector + kQueries - 1], block).end;  // and the last's last
  if (all.end <= all.begin) return;
  float* const scores = space.scores + vector * args.block_tokens;
  ScoreKeyTiles<Row, kQueries>(space.q + vector * args.head_dim, args.head_dim,
                               keys + all.begin * row_bytes, row_bytes, all.end - all.begin,
                               scores + all.begin, args.block_tokens);
  for (int i = 0; i < kQueries; ++i) {
    const BlockRange range = RangeIn(args, space.states[vector + i], block);
    const int64_t count = range.end - range.begin;
    if (count <= 0) continue;
    float* const own = scores + i * args.block_tokens + range.begin;
    const int64_t scales = range.begin * int64_t{sizeof(float)};
    MultiplyAll(args.scale, count, own);
    if constexpr (kScaled) MultiplyBy(key_scales + scales, count, own);
    if (args.score_cap > 0) SoftCap({own, count, args.score_cap});
    OnlineSoftmax& state = space.states[vector + i];
    SoftmaxBlock(own, count, /*first=*/state.sum == 0.0f, &state);
    if constexpr (kScaled) MultiplyBy(value_scales + scales, count, own);
  }
}

// kQueries queries, from `vector` on, add a block's values. What they have in common they read
// together; what only some of them see comes before and behind that, in the order of positions.
template <class Row, int kQueries>
static BATON_INLINE void MixValues(const AttentionArgs& args, const AttentionSpace& space,
                                   int64_t vector, int64_t block, const std::byte* values,
                                   int64_t row_bytes) {
  BlockRange common = RangeIn(args, space.states[vector + kQueries - 1], block);
  const BlockRange of_first = RangeIn(args, space.states[vector], block);
  common.end = of_first.end;
  if (common.end < common.begin) common.end = common.begin;
  float rescale[kQueries];
  const auto part = [&](int i, int64_t begin, int64_t end, const float* factors) {
    return WeightedValues{.values = values + begin * row_bytes,
                          .row_bytes = row_bytes,
                          .count = end - begin,
                          .weights = space.scores + (vector + i) * args.block_tokens + begin,
                          .stride = args.block_tokens,
                          .rescale = factors,
                          .head_dim = args.head_dim,
                          .out = space.out + (vector + i) * args.head_dim};
  };
  for (int i = 0; i < kQueries; ++i) {
    const BlockRange range = RangeIn(args, space.states[vector + i], block);
    rescale[i] = range.end > range.begin ? space.states[vector + i].rescale : 1.0f;
    const int64_t end = range.end < common.begin ? range.end : common.begin;
    if (range.begin < end) {
      AddValues<Row, 1>(part(i, range.begin, end, &rescale[i]));
      rescale[i] = 1.0f;
    }
  }
  if (common.begin < common.end) {
    AddValues<Row, kQueries>(part(0, common.begin, common.end, rescale));
    for (int i = 0; i < kQueries; ++i) rescale[i] = 1.0f;
  }
  for (int i = 0; i < kQueries; ++i) {
    const BlockRange range = RangeIn(args, space.states[vector + i], block);
    const int64_t begin = range.begin > common.end ? range.begin : common.end;
    if (begin < range.end) AddValues<Row, 1>(part(i, begin, range.end, &rescale[i]));
  }
}

// Calls do_tile.operator()<kQueries>(vector) for all of them.
template <class DoTile>
static BATON_INLINE void ForQueryTiles(int64_t vectors, const DoTile& do_tile) {
  int64_t vector = 0;
  for (; vector + kAttentionTile <= vectors; vector += kAttentionTile) {
    do_tile.template operator()<kAttentionTile>(vector);
  }
  const int64_t rest = vectors - vector;
  if constexpr (kAttentionTile == 4) {
    if (rest == 3) return do_tile.template operator()<3>(vector);
    if (rest == 2) return do_tile.template operator()<2>(vector);
  }
  if (rest == 1) do_tile.template operator()<1>(vector);
}

// [count] vectors of a block as f32.
template <class Row>
static BATON_INLINE void ExpandVectors(const std::byte* rows, int64_t row_bytes, int64_t count,
                                       int64_t head_dim, float* out) {
  for (int64_t t = 0; t < count; ++t, rows += row_bytes, out += head_dim) {
    const Row row = Row::At(rows);
    int64_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) {
      Store(row.Lanes(typename Row::Shared{}, d), out + d);
    }
    if (d < head_dim) StorePartial(row.Partial(d, head_dim - d), out + d, head_dim - d);
  }
}

template <class Row, int64_t kElementBytes, bool kScaled>
static void AttentionOver(const AttentionArgs& args) {
  const int64_t vectors = args.queries * args.group;
  const int64_t vector_floats = vectors * args.head_dim;
  AttentionSpace space;
  space.states = reinterpret_cast<OnlineSoftmax*>(args.scratch);
  space.scores = args.scratch + 4 * vectors;
  space.q = space.scores + vectors * args.block_tokens;
  space.out = space.q + vector_floats;
  space.expanded = space.out + vector_floats;
  const int64_t group_floats = args.group * args.head_dim;
  for (int64_t i = 0; i < args.queries; ++i) {
    for (int64_t h = 0; h < args.group; ++h) {
      space.states[i * args.group + h] = {0, 0, 0, static_cast<int32_t>(i)};
    }
    __builtin_memcpy(space.q + i * group_floats, args.q + i * args.stride,
                     static_cast<size_t>(group_floats) * sizeof(float));
  }
  for (int64_t i = 0; i < vector_floats; ++i) space.out[i] = 0;

  const int64_t row_bytes = args.head_dim * kElementBytes;
  const int64_t all = args.positions + args.queries - 1;
  const int64_t first =
      args.window > 0 && args.positions > args.window ? args.positions - args.window : 0;
  // Queries inside blocks: a block's keys and values stay in the cache for all of them.
  for (int64_t block = first / args.block_tokens; block * args.block_tokens < all; ++block) {
    const std::byte* const keys = args.blocks[block] + args.key_offset;
    const std::byte* const values = args.blocks[block] + args.value_offset;
    const int64_t scales = args.block_tokens * row_bytes;
    const int64_t left = all - block * args.block_tokens;
    const int64_t count = left < args.block_tokens ? left : args.block_tokens;
    const auto weigh = [&]<class AnyRow>(AnyRow, const std::byte* rows, int64_t bytes) {
      ForQueryTiles(vectors, [&]<int kQueries>(int64_t vector) {
        WeighKeys<AnyRow, kScaled, kQueries>(args, space, vector, block, rows, bytes, keys + scales,
                                             values + scales);
      });
    };
    const auto mix = [&]<class AnyRow>(AnyRow, const std::byte* rows, int64_t bytes) {
      ForQueryTiles(vectors, [&]<int kQueries>(int64_t vector) {
        MixValues<AnyRow, kQueries>(args, space, vector, block, rows, bytes);
      });
    };
    // Smaller types are converted once where several tiles would each do it; the values are the
    // same.
    if (kElementBytes == 4 || vectors < kExpandFrom) {
      weigh(Row{}, keys, row_bytes);
      mix(Row{}, values, row_bytes);
    } else {
      const auto* const expanded = reinterpret_cast<const std::byte*>(space.expanded);
      const int64_t expanded_bytes = args.head_dim * int64_t{sizeof(float)};
      ExpandVectors<Row>(keys, row_bytes, count, args.head_dim, space.expanded);
      weigh(F32Row{}, expanded, expanded_bytes);
      ExpandVectors<Row>(values, row_bytes, count, args.head_dim, space.expanded);
      mix(F32Row{}, expanded, expanded_bytes);
    }
  }
  for (int64_t i = 0; i < args.queries; ++i) {
    for (int64_t h = 0; h < args.group; ++h) {
      const int64_t vector = i * args.group + h;
      const float* const from = space.out + vector * args.head_dim;
      float* const out = args.out + i * args.stride + h * args.head_dim;
      const float sum = space.states[vector].sum;
      for (int64_t d = 0; d < args.head_dim; ++d) out[d] = from[d] / sum;
    }
  }
}

static void Attention(const AttentionArgs& args) {
  switch (args.type) {
    case KvType::kF32:
      return AttentionOver<F32Row, 4, false>(args);
    case KvType::kF16:
      return AttentionOver<F16Row, 2, false>(args);
    case KvType::kBF16:
      return AttentionOver<BF16Row, 2, false>(args);
    case KvType::kInt8:
      return AttentionOver<I8Row, 1, true>(args);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
