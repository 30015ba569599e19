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

// scores[t] = q . keys[t] * scale, for `count` keys of one block.
static BATON_INLINE void ScoreBlock(const AttentionArgs& args, const float* q, const float* keys,
                                    int64_t count, float* scores) {
  constexpr int kKeys = 4;
  int64_t t = 0;
  for (; t + kKeys <= count; t += kKeys) {
    const float* key = keys + t * args.row_stride;
    const F32Row rows[kKeys] = {
        {key}, {key + args.row_stride}, {key + 2 * args.row_stride}, {key + 3 * args.row_stride}};
    float dots[1][kKeys];
    DotTile(rows, q, 0, args.head_dim, dots);
    for (int i = 0; i < kKeys; ++i) scores[t + i] = dots[0][i] * args.scale;
  }
  for (; t < count; ++t) {
    const F32Row rows[1] = {{keys + t * args.row_stride}};
    float dots[1][1];
    DotTile(rows, q, 0, args.head_dim, dots);
    scores[t] = dots[0][0] * args.scale;
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

// out[d] = out[d] * rescale + sum over t of weights[t] * values[t][d], for kVectors vectors of d.
template <int kVectors>
static BATON_INLINE void AddValueVectors(const float* values, int64_t row_stride, int64_t count,
                                         const float* weights, float rescale, float* out) {
  F32 sums[kVectors];
  for (int i = 0; i < kVectors; ++i) sums[i] = Load(out + i * kLanes) * rescale;
  for (int64_t t = 0; t < count; ++t) {
    const F32 weight = Broadcast(weights[t]);
    const float* value = values + t * row_stride;
    for (int i = 0; i < kVectors; ++i) sums[i] = MulAdd(weight, Load(value + i * kLanes), sums[i]);
  }
  for (int i = 0; i < kVectors; ++i) Store(sums[i], out + i * kLanes);
}

static BATON_INLINE void AddValues(const AttentionArgs& args, const float* values, int64_t count,
                                   const float* weights, float rescale, float* out) {
  int64_t d = 0;
  for (; d + 4 * kLanes <= args.head_dim; d += 4 * kLanes) {
    AddValueVectors<4>(values + d, args.row_stride, count, weights, rescale, out + d);
  }
  for (; d + kLanes <= args.head_dim; d += kLanes) {
    AddValueVectors<1>(values + d, args.row_stride, count, weights, rescale, out + d);
  }
  if (const int64_t rest = args.head_dim - d; rest > 0) {
    F32 sum = LoadPartial(out + d, rest) * rescale;
    for (int64_t t = 0; t < count; ++t) {
      const F32 value = LoadPartial(values + t * args.row_stride + d, rest);
      sum = MulAdd(Broadcast(weights[t]), value, sum);
    }
    StorePartial(sum, out + d, rest);
  }
}

static void Attention(const AttentionArgs& args) {
  auto* states = reinterpret_cast<OnlineSoftmax*>(args.scratch);  // [group]
  float* scores = args.scratch + 3 * args.group;                  // [block_tokens]
  for (int64_t h = 0; h < args.group; ++h) {
    states[h] = {};
    for (int64_t d = 0; d < args.head_dim; ++d) args.out[h * args.head_dim + d] = 0;
  }
  // Heads inside blocks: a block's keys and values stay in the cache for the whole group.
  for (int64_t begin = args.first; begin < args.positions;) {
    const int64_t block = begin / args.block_tokens;
    const int64_t row = (begin - block * args.block_tokens) * args.row_stride;
    const float* keys = args.blocks[block] + args.key_offset + row;
    const float* values = args.blocks[block] + args.value_offset + row;
    const int64_t block_end = (block + 1) * args.block_tokens;
    const int64_t end = block_end < args.positions ? block_end : args.positions;
    const int64_t count = end - begin;
    for (int64_t h = 0; h < args.group; ++h) {
      ScoreBlock(args, args.q + h * args.head_dim, keys, count, scores);
      if (args.score_cap > 0) SoftCap({scores, count, args.score_cap});
      SoftmaxBlock(scores, count, begin == args.first, &states[h]);
      AddValues(args, values, count, scores, states[h].rescale, args.out + h * args.head_dim);
    }
    begin = end;
  }
  for (int64_t h = 0; h < args.group; ++h) {
    float* out = args.out + h * args.head_dim;
    for (int64_t d = 0; d < args.head_dim; ++d) out[d] /= states[h].sum;
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
