#pragma once

#include "engine/exec/cpu/kernels/kernels.h"
#include "engine/exec/cpu/kernels/simd-inl.h"

namespace baton::BATON_SIMD_NAMESPACE {

static void AddBias(const AddBiasArgs& args) {
  for (int64_t row = 0; row < args.rows; ++row) {
    float* x = args.x + row * args.dim;
    int64_t i = 0;
    for (; i + kLanes <= args.dim; i += kLanes) Store(Load(x + i) + Load(args.bias + i), x + i);
    for (; i < args.dim; ++i) x[i] += args.bias[i];
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
