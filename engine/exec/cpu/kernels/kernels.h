#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/model/tensor_type.h"

namespace baton {

// The arithmetic of the CPU's language models: f32 activations, weights as the file holds them. One
// source per kernel (*-inl.h), compiled once per instruction set; the table is chosen at start.
// Kernels allocate nothing, start no thread and check no shape: that is the caller's. Every output
// element is summed in an order that depends on its own inputs' lengths only, never on how many
// others are computed beside it, so a sequence's results do not depend on its batch. Pointers need
// no more alignment than their element. All strides are in elements.

// y[t, r] = sum over c of x[t, c] * w[r, c], for r in [row_begin, row_end).
struct MatmulArgs {
  const float* x;      // [m, cols], row-major
  const std::byte* w;  // [rows, cols] of `type` as in the file: each row RowBytes(type, cols)
  TensorType type;
  float* y;  // [m, y_stride], row-major; element [t, r] at t * y_stride + r
  int64_t y_stride;
  int64_t m;
  int64_t cols;  // a multiple of BlockWeights(type)
  int64_t row_begin;
  int64_t row_end;
  bool add;        // y += instead of y =
  float* scratch;  // [kMatmulPanelRows, cols]; the caller's thread's own
};
// Weight rows that are expanded to f32 at once and then used for all m, where m is large.
inline constexpr int64_t kMatmulPanelRows = 16;

// y = x / sqrt(mean(x^2) + epsilon) * weight, for each row. y may be x.
struct RmsNormArgs {
  const float* x;       // [rows, dim], row-major
  const float* weight;  // [dim]
  float* y;             // [rows, dim], row-major
  int64_t rows;
  int64_t dim;
  float epsilon;
};

// Rotates the adjacent pairs (2i, 2i + 1), i < pairs, of every head in place; what lies behind them
// in a head stays.
struct RopeArgs {
  float* x;          // [heads, head_dim], one position
  const float* cos;  // [pairs]
  const float* sin;  // [pairs]
  int64_t heads;
  int64_t head_dim;
  int64_t pairs;
};

// One position's attention for the query heads that share one key/value head, by online softmax
// over the KV blocks in order: out[h] = softmax(q[h] . K^T * scale) . V over `positions`.
struct AttentionArgs {
  const float* q;              // [group, head_dim]
  float* out;                  // [group, head_dim]
  const float* const* blocks;  // [ceil(positions / block_tokens)]
  int64_t key_offset;          // of this layer's and head's first key within a block
  int64_t value_offset;        // of its first value
  int64_t row_stride;          // between two positions' keys, and values
  int64_t block_tokens;
  int64_t positions;  // attended to: [0, positions), at least 1
  int64_t group;
  int64_t head_dim;
  float scale;
  float* scratch;  // [AttentionScratch(group, block_tokens)]; the caller's thread's own
};
inline constexpr int64_t AttentionScratch(int64_t group, int64_t block_tokens) {
  return 3 * group + block_tokens;  // each head's running maximum, sum and factor; scores
}

// gate = gate / (1 + exp(-gate)) * up.
struct SiluGateArgs {
  float* gate;      // [count]
  const float* up;  // [count]
  int64_t count;
};

struct CpuKernels {
  void (*matmul)(const MatmulArgs& args);
  void (*rms_norm)(const RmsNormArgs& args);
  void (*rope)(const RopeArgs& args);
  void (*attention)(const AttentionArgs& args);
  void (*silu_gate)(const SiluGateArgs& args);
};

// `level` must be one that this machine has.
const CpuKernels& KernelsFor(SimdLevel level);

// One table per compilation of the kernels.
extern const CpuKernels kBaselineKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;

}  // namespace baton
