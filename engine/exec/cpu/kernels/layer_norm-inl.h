#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

// The variance in a pass of its own, about the mean: the mean of squares less the square of the
// mean would cancel where the mean is large.
static void LayerNorm(const LayerNormArgs& args) {
  const int64_t whole = args.dim - args.dim % kLanes;
  const float dim = static_cast<float>(args.dim);
  for (int64_t row = 0; row < args.rows; ++row) {
    const float* x = args.x + row * args.dim;
    float* y = args.y + row * args.dim;
    F32 sums = {};
    for (int64_t i = 0; i < whole; i += kLanes) sums += Load(x + i);
    float sum = Sum(sums);
    for (int64_t i = whole; i < args.dim; ++i) sum += x[i];
    const float mean = sum / dim;

    F32 squares = {};
    for (int64_t i = 0; i < whole; i += kLanes) {
      const F32 difference = Load(x + i) - mean;
      squares = MulAdd(difference, difference, squares);
    }
    float square = Sum(squares);
    for (int64_t i = whole; i < args.dim; ++i) square += (x[i] - mean) * (x[i] - mean);

    const float factor = 1.0f / __builtin_sqrtf(square / dim + args.epsilon);
    for (int64_t i = 0; i < whole; i += kLanes) {
      const F32 scaled = (Load(x + i) - mean) * factor;
      Store(MulAdd(scaled, Load(args.weight + i), Load(args.bias + i)), y + i);
    }
    for (int64_t i = whole; i < args.dim; ++i) {
      y[i] = (x[i] - mean) * factor * args.weight[i] + args.bias[i];
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
