#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// What a row is multiplied by, beside the weight.
static BATON_INLINE float RmsFactor(const float* x, int64_t dim, float epsilon) {
  const int64_t whole = dim - dim % kLanes;
  const int64_t rest = dim - whole;
  F32 squares = {};
  for (int64_t i = 0; i < whole; i += kLanes) squares = MulAdd(Load(x + i), Load(x + i), squares);
  if (rest > 0) {
    const F32 last = LoadPartial(x + whole, rest);
    squares = MulAdd(last, last, squares);
  }
  const float mean = Sum(squares) / static_cast<float>(dim);
  return 1.0f / __builtin_sqrtf(mean + epsilon);
}

static void RmsNorm(const RmsNormArgs& args) {
  const int64_t whole = args.dim - args.dim % kLanes;
  const int64_t rest = args.dim - whole;
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* x = args.x + row * args.dim;
    float* y = args.y + row * args.dim;
    const F32 factor = Broadcast(RmsFactor(x, args.dim, args.epsilon));
    for (int64_t i = 0; i < whole; i += kLanes) {
      Store(Load(x + i) * factor * Load(args.weight + i), y + i);
    }
    if (rest > 0) {
      const F32 last = LoadPartial(x + whole, rest) * factor;
      StorePartial(last * LoadPartial(args.weight + whole, rest), y + whole, rest);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
