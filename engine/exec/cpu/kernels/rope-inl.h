#pragma once

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton::BATON_SIMD_NAMESPACE {

// Pair i is first[i * kStep] and second[i * kStep].
template <int kStep>
static void RotatePairs(const RopeArgs& args, float* first, float* second) {
  for (int64_t i = 0; i < args.pairs; ++i) {
    const float a = first[i * kStep];
    const float b = second[i * kStep];
    first[i * kStep] = a * args.cos[i] - b * args.sin[i];
    second[i * kStep] = a * args.sin[i] + b * args.cos[i];
  }
}

static void Rope(const RopeArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    float* x = args.x + head * args.head_dim;
    if (args.halves) {
      RotatePairs<1>(args, x, x + args.pairs);
    } else {
      RotatePairs<2>(args, x, x + 1);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
