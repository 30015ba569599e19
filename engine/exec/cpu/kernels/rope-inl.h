#pragma once

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton::BATON_SIMD_NAMESPACE {

// Neither overlaps: unless told so, compilers rotate pair by pair.
static void RotateNeighbours(const RopeArgs& args, float* __restrict x) {
  const float* __restrict cos = args.cos;
  const float* __restrict sin = args.sin;
  for (int64_t i = 0; i < args.pairs; ++i) {
    const float a = x[2 * i];
    const float b = x[2 * i + 1];
    x[2 * i] = a * cos[i] - b * sin[i];
    x[2 * i + 1] = a * sin[i] + b * cos[i];
  }
}
static void RotateHalves(const RopeArgs& args, float* __restrict first, float* __restrict second) {
  const float* __restrict cos = args.cos;
  const float* __restrict sin = args.sin;
  for (int64_t i = 0; i < args.pairs; ++i) {
    const float a = first[i];
    const float b = second[i];
    first[i] = a * cos[i] - b * sin[i];
    second[i] = a * sin[i] + b * cos[i];
  }
}

static void Rope(const RopeArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    float* x = args.x + head * args.head_dim;
    if (args.halves) {
      RotateHalves(args, x, x + args.pairs);
    } else {
      RotateNeighbours(args, x);
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
