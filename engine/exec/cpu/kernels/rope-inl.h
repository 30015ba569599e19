#pragma once

#include "engine/exec/cpu/kernels/kernels.h"

namespace baton::BATON_SIMD_NAMESPACE {

static void Rope(const RopeArgs& args) {
  for (int64_t head = 0; head < args.heads; ++head) {
    float* x = args.x + head * args.head_dim;
    for (int64_t i = 0; i < args.pairs; ++i) {
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      x[2 * i] = a * args.cos[i] - b * args.sin[i];
      x[2 * i + 1] = a * args.sin[i] + b * args.cos[i];
    }
  }
}

}  // namespace baton::BATON_SIMD_NAMESPACE
