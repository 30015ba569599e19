#pragma once

#include "engine/exec/cpu/kernels/dot-inl.h"
#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/soft_cap-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// One query head's state while it walks the blocks: out / sum is the attention so far, its scores
// taken relative to the largest one.
struct OnlineSoftmax {
  float maximum;
  float sum;
  float rescale;  // what this block's larger maximum scales the earlier sums by
};
static_assert(sizeof(OnlineSoftmax) == 3 * sizeof(float));

// One position's int8 elements, without their scale: that multiplies what comes of the whole
// vector, once.
struct I8Row {
  struct Shared {};
  const std::byte* p;  // [head_dim], int8
  static BATON_INLINE I8Row At(const std::byte* row) { return {row}; }
  BATON_INLINE Shared Segment(int64_t) const { return {}; }
  BATON_INLINE F32 Lanes(Shared, int64_t c) const {
    return LoadI8(reinterpret_cast<const int8_t*>(p + c));
  }
  BATON_INLINE F32 Partial(int64_t c, int64_t n) const { return LoadI8Partial(p + c, n); }
};

// scores[t] = q . keys[t] * scale, for `count` keys of one block, row_bytes apart.
template <class Row>
static BATON_INLINE void ScoreBlock(const AttentionArgs& args, const float* q,
                                    const std::byte* keys, int64_t row_bytes, int64_t count,
                                    float* scores) {
  constexpr int kKeys = 4;
  int64_t t = 0;
  for (; t + kKeys <= count; t += kKeys) {
    const std::byte* key = keys + t * row_bytes;
    const Row rows[kKeys] = {Row::At(key), Row::At(key + row_bytes), Row::At(key + 2 * row_bytes),
                             Row::At(key + 3 * row_bytes)};
    float dots[1][kKeys];
    DotTile(rows, q, 0, args.head_dim, dots);
    for (int i = 0; i < kKeys; ++i) scores[t + i] = dots[0][i] * args.scale;
  }
  for (; t < count; ++t) {
    const Row rows[1] = {Row::At(keys + t * row_bytes)};
    float dots[1][1];
    DotTile(rows, q, 0, args.head_dim, dots);
    scores[t] = dots[0][0] * args.scale;
  }
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

// Turns a block's scores into weights relative to the new maximum.
static BATON_INLINE void SoftmaxBlock(float* scores, int64_t count, bool first,
                                      OnlineSoftmax* state) {
  float maximum = first ? scores[0] : state->maximum;
  for (int64_t t = 0; t < count; ++t) maximum = scores[t] > maximum ? scores[t] : maximum;
  state->rescale = first ? 0.0f : Exp(Broadcast(state->maximum - maximum))[0];
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

// A block's values and what they are weighted by.
struct WeightedValues {
  const std::byte* values;  // [count] vectors, row_bytes apart
  int64_t row_bytes;
  int64_t count;
  const float* weights;  // [count]
  float rescale;
};

// out[d] = out[d] * rescale + sum over t of weights[t] * values[t][d], for kVectors vectors of d.
template <class Row, int kVectors>
static BATON_INLINE void AddValueVectors(const WeightedValues& v, int64_t d, float* out) {
  F32 sums[kVectors];
  for (int i = 0; i < kVectors; ++i) sums[i] = Load(out + d + i * kLanes) * v.rescale;
  for (int64_t t = 0; t < v.count; ++t) {
    const F32 weight = Broadcast(v.weights[t]);
    const Row value = Row::At(v.values + t * v.row_bytes);
    for (int i = 0; i < kVectors; ++i) {
      sums[i] = MulAdd(weight, value.Lanes(typename Row::Shared{}, d + i * kLanes), sums[i]);
    }
  }
  for (int i = 0; i < kVectors; ++i) Store(sums[i], out + d + i * kLanes);
}

template <class Row>
static BATON_INLINE void AddValues(const WeightedValues& v, int64_t head_dim, float* out) {
  int64_t d = 0;
  for (; d + 4 * kLanes <= head_dim; d += 4 * kLanes) AddValueVectors<Row, 4>(v, d, out);
  for (; d + kLanes <= head_dim; d += kLanes) AddValueVectors<Row, 1>(v, d, out);
  if (const int64_t rest = head_dim - d; rest > 0) {
    F32 sum = LoadPartial(out + d, rest) * v.rescale;
    for (int64_t t = 0; t < v.count; ++t) {
      const F32 value = Row::At(v.values + t * v.row_bytes).Partial(d, rest);
      sum = MulAdd(Broadcast(v.weights[t]), value, sum);
    }
    StorePartial(sum, out + d, rest);
  }
}

template <class Row, int64_t kElementBytes, bool kScaled>
static void AttentionOver(const AttentionArgs& args) {
  auto* states = reinterpret_cast<OnlineSoftmax*>(args.scratch);  // [group]
  float* scores = args.scratch + 3 * args.group;                  // [block_tokens]
  for (int64_t h = 0; h < args.group; ++h) {
    states[h] = {};
    for (int64_t d = 0; d < args.head_dim; ++d) args.out[h * args.head_dim + d] = 0;
  }
  const int64_t row_bytes = args.head_dim * kElementBytes;
  // Heads inside blocks: a block's keys and values stay in the cache for the whole group.
  for (int64_t begin = args.first; begin < args.positions;) {
    const int64_t block = begin / args.block_tokens;
    const int64_t skipped = begin - block * args.block_tokens;
    const std::byte* keys = args.blocks[block] + args.key_offset;
    const std::byte* values = args.blocks[block] + args.value_offset;
    const int64_t scales = args.block_tokens * row_bytes + skipped * int64_t{sizeof(float)};
    const int64_t block_end = (block + 1) * args.block_tokens;
    const int64_t end = block_end < args.positions ? block_end : args.positions;
    const int64_t count = end - begin;
    for (int64_t h = 0; h < args.group; ++h) {
      ScoreBlock<Row>(args, args.q + h * args.head_dim, keys + skipped * row_bytes, row_bytes,
                      count, scores);
      if constexpr (kScaled) MultiplyBy(keys + scales, count, scores);
      if (args.score_cap > 0) SoftCap({scores, count, args.score_cap});
      SoftmaxBlock(scores, count, begin == args.first, &states[h]);
      if constexpr (kScaled) MultiplyBy(values + scales, count, scores);
      AddValues<Row>({.values = values + skipped * row_bytes,
                      .row_bytes = row_bytes,
                      .count = count,
                      .weights = scores,
                      .rescale = states[h].rescale},
                     args.head_dim, args.out + h * args.head_dim);
    }
    begin = end;
  }
  for (int64_t h = 0; h < args.group; ++h) {
    float* out = args.out + h * args.head_dim;
    for (int64_t d = 0; d < args.head_dim; ++d) out[d] /= states[h].sum;
  }
}

static void Attention(const AttentionArgs& args) {
  switch (args.type) {
    case KvType::kF32:
      return AttentionOver<F32Row, 4, false>(args);
    case KvType::kF16:
      return AttentionOver<F16Row, 2, false>(args);
    case KvType::kInt8:
      return AttentionOver<I8Row, 1, true>(args);
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
