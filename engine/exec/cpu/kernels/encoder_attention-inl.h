#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// A tile keeps kQueryTile by kVectorTile vectors of sums in registers: 16 of AVX-512's 32; 8 of the
// 16 that SSE and AVX2 have, which leaves room for the operands.
constexpr int kQueryTile = int{kEncoderQueryTile};
constexpr int kVectorTile = kLanes == 16 ? 4 : 2;

// sums[i][j] = sum over t of weights[i][t] * rows[t][j], in the order of t, for kQueries rows of
// weights and kVectors vectors of j. `partial` > 0: the last vector has so many elements.
template <int kQueries, int kVectors>
static BATON_INLINE void WeightRows(const float* weights, int64_t weight_stride, const float* rows,
                                    int64_t row_stride, int64_t count, int64_t partial,
                                    F32 (&sums)[kQueries][kVectors]) {
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) sums[i][j] = F32{};
  }
  for (int64_t t = 0; t < count; ++t) {
    F32 row[kVectors];
    for (int j = 0; j < kVectors; ++j) {
      const float* p = rows + t * row_stride + j * kLanes;
      row[j] = partial > 0 && j == kVectors - 1 ? LoadPartial(p, partial) : Load(p);
    }
    for (int i = 0; i < kQueries; ++i) {
      const F32 weight = Broadcast(weights[i * weight_stride + t]);
      for (int j = 0; j < kVectors; ++j) sums[i][j] = MulAdd(weight, row[j], sums[i][j]);
    }
  }
}

// scores: [kQueries, stride], stride whole vectors; the elements behind the positions are not used.
template <int kQueries, int kVectors>
static BATON_INLINE void ScoreKeys(const EncoderAttentionArgs& args, const float* q,
                                   const float* keys, int64_t stride, float* scores) {
  F32 sums[kQueries][kVectors];
  WeightRows(q, args.row_stride, keys, stride, args.head_dim, 0, sums);
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j)
      Store(sums[i][j] * args.scale, scores + i * stride + j * kLanes);
  }
}

template <int kQueries, int kVectors>
static BATON_INLINE void MixValues(const EncoderAttentionArgs& args, const float* weights,
                                   int64_t stride, const float (&totals)[kQueries], int64_t d,
                                   int64_t partial, float* out) {
  F32 sums[kQueries][kVectors];
  WeightRows(weights, stride, args.v + d, args.row_stride, args.positions, partial, sums);
  for (int i = 0; i < kQueries; ++i) {
    for (int j = 0; j < kVectors; ++j) {
      float* p = out + i * args.out_stride + d + j * kLanes;
      const F32 mixed = sums[i][j] / totals[i];
      if (partial > 0) {
        StorePartial(mixed, p, partial);
      } else {
        Store(mixed, p);
      }
    }
  }
}

// Turns scores into weights relative to the largest one; their sum.
static BATON_INLINE float SoftmaxWeights(float* scores, int64_t count) {
  float maximum = scores[0];
  for (int64_t t = 1; t < count; ++t) maximum = scores[t] > maximum ? scores[t] : maximum;
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
  return sum;
}

template <int kQueries>
static void AttendTile(const EncoderAttentionArgs& args, int64_t query, const float* keys,
                       int64_t stride, float* scores) {
  const float* q = args.q + query * args.row_stride;
  float* out = args.out + query * args.out_stride;
  int64_t t = 0;
  for (; t + kVectorTile * kLanes <= stride; t += kVectorTile * kLanes) {
    ScoreKeys<kQueries, kVectorTile>(args, q, keys + t, stride, scores + t);
  }
  for (; t < stride; t += kLanes) {
    ScoreKeys<kQueries, 1>(args, q, keys + t, stride, scores + t);
  }
  float totals[kQueries];
  for (int i = 0; i < kQueries; ++i) {
    totals[i] = SoftmaxWeights(scores + i * stride, args.positions);
  }
  int64_t d = 0;
  for (; d + kVectorTile * kLanes <= args.head_dim; d += kVectorTile * kLanes) {
    MixValues<kQueries, kVectorTile>(args, scores, stride, totals, d, 0, out);
  }
  for (; d + kLanes <= args.head_dim; d += kLanes) {
    MixValues<kQueries, 1>(args, scores, stride, totals, d, 0, out);
  }
  if (d < args.head_dim) {
    MixValues<kQueries, 1>(args, scores, stride, totals, d, args.head_dim - d, out);
  }
}

static void EncoderAttention(const EncoderAttentionArgs& args) {
  const int64_t stride = args.key_stride;
  // Keys side by side, so that a vector of scores is of neighbouring keys and no sum crosses lanes.
  float* keys = args.scratch;  // [head_dim, stride]
  for (int64_t t = 0; t < args.positions; ++t) {
    const float* key = args.k + t * args.row_stride;
    for (int64_t d = 0; d < args.head_dim; ++d) keys[d * stride + t] = key[d];
  }
  for (int64_t d = 0; d < args.head_dim; ++d) {
    for (int64_t t = args.positions; t < stride; ++t) keys[d * stride + t] = 0;
  }
  float* scores = keys + args.head_dim * stride;  // [kQueryTile, stride]
  int64_t query = 0;
  for (; query + kQueryTile <= args.queries; query += kQueryTile) {
    AttendTile<kQueryTile>(args, query, keys, stride, scores);
  }
  for (; query < args.queries; ++query) AttendTile<1>(args, query, keys, stride, scores);
}

}  // namespace baton::BATON_SIMD_NAMESPACE
