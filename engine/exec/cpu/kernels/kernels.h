#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/base/simd_level.h"
#include "engine/kv/kv_type.h"
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

// ---- Integer products: quantised weights, packed, with activations rounded to 8 bits

// How the rows of a panel are held. A panel is kPackedRows rows; its blocks follow one another,
// each one
//   quants: unsigned. 8 bits: [columns / 4][kPackedRows][4], one register for four columns. 4 bits:
//     the same of 16 of 32 columns, those 16 further in the high nibbles. 6 bits: 4 bits as
//     before, then the upper bit pairs of 64 columns, 16 apart, in one byte.
//   f16 scales [kPackedRows]
//   kinds with a minimum for 32 columns: f16 minimums [kPackedRows]
//   K kinds with minimums: f16 minimums' scales [kPackedRows]; of each 32 columns u8 scales and
//     minimums [2][kPackedRows]. 6 bits: of each 16 columns int8 scales [kPackedRows].
enum class PackedKind : uint8_t {
  k8Bit,     // 32 columns; weight = scale * (q - 128)
  k4Bit,     // 32 columns; weight = scale * (q - 8)
  k4BitMin,  // 32 columns; weight = scale * q - min
  k8BitMin,  // as k4BitMin
  k4BitK,    // 256 columns; weight = scale * s * q - min_scale * m
  k8BitK,    // as k4BitK
  k6BitK,    // 256 columns; weight = scale * s * (q - 32)
  // Not packed, and of products in tile registers alone: bf16 as the file has them, [rows, cols],
  // row-major, cols a multiple of 32.
  kRowsBF16,
};
inline constexpr int64_t kPackedRows = 16;
inline constexpr int kPackedOffset8Bit = 128;
inline constexpr int64_t PackedBlockColumns(PackedKind kind) {
  switch (kind) {
    case PackedKind::k8Bit:
    case PackedKind::k4Bit:
    case PackedKind::k4BitMin:
    case PackedKind::k8BitMin:
    case PackedKind::kRowsBF16:
      return 32;
    default:
      return 256;
  }
}
inline constexpr int64_t PackedBlockBytes(PackedKind kind) {
  switch (kind) {
    case PackedKind::k8Bit:
      return 512 + 32;
    case PackedKind::k4Bit:
      return 256 + 32;
    case PackedKind::k4BitMin:
      return 256 + 64;
    case PackedKind::k8BitMin:
      return 512 + 64;
    case PackedKind::k4BitK:
      return 2048 + 64 + 256;
    case PackedKind::k8BitK:
      return 4096 + 64 + 256;
    case PackedKind::k6BitK:
      return 2048 + 1024 + 32 + 256;
    case PackedKind::kRowsBF16:  // of sixteen rows, which lie apart
      return 1024;
  }
  return 0;
}
struct PackedWeights {
  PackedKind kind;
  const std::byte* data;  // [ceil(rows / kPackedRows)][cols / columns][PackedBlockBytes], 64-byte
                          // aligned; or the file's
  int64_t rows;
  int64_t cols;
};
inline constexpr int64_t PanelCount(const PackedWeights& w) {
  return (w.rows + kPackedRows - 1) / kPackedRows;
}

// Activations in 8 bits: x = scale * q for each 32 columns, q in [-127, 127]; and sums of q.
inline constexpr int64_t kActivationBlock = 32;
//
// Kernels with tile registers take sixteen tokens each in a tile: from kPackedWideFrom tokens on
// all of them as tiles[token / 16][column / 32]; from kByteTilesFrom on the first sixteen as
// byte_tiles[column / 32].
inline constexpr int64_t kTileTokens = 16;
struct alignas(64) ByteTile {
  int8_t q[kTileTokens][kActivationBlock];
  float scales[kTileTokens];
  float scaled_sums[kTileTokens];  // scale * sum of q
  int32_t offsets[kTileTokens];    // -kPackedOffset8Bit * sum of q
};
struct alignas(64) TokenTile {
  uint16_t q[kTileTokens][kActivationBlock];  // bf16; of each four columns the first, third, second
                                              // and fourth
  float scales[kTileTokens];
  float scaled_sums[kTileTokens];  // scale * sum of q
};
struct QuantisedRows {
  int8_t* q;                       // [m, cols]
  float* scales;                   // [m, cols / 32]
  int32_t* sums_16;                // [m, cols / 16], of 16 columns
  int32_t* sums_32;                // [m, cols / 32], of 32
  ByteTile* byte_tiles = nullptr;  // [cols / 32]
  TokenTile* tiles = nullptr;      // [ceil(m / kTileTokens), cols / 32]
};
// Tokens that a product takes together stand side by side in QuantisedRows: of a tile, q is
// [cols / 4][tokens][4], the others [..][tokens]. A tile begins where it would in rows.
struct ActivationTile {
  int64_t first;
  int64_t tokens;
};
// Tokens from which on panels are unpacked once for all of them, and tiles have one token.
inline constexpr int64_t kPackedWideFrom = 24;
// Fewer are sooner multiplied without tile registers, which take their time for each product.
inline constexpr int64_t kByteTilesFrom = 12;
inline constexpr int64_t kPackedTokens = 8;
// The tile of a token, of m in all: of kPackedTokens each, the last one of those that are left.
inline constexpr ActivationTile TileOf(int64_t token, int64_t m) {
  if (m >= kPackedWideFrom) return {token, 1};
  const int64_t first = token / kPackedTokens * kPackedTokens;
  const int64_t left = m - first;
  return {first, left < kPackedTokens ? left : kPackedTokens};
}
struct QuantiseArgs {
  const float* x;  // [m, cols]
  int64_t m;
  int64_t cols;  // a multiple of 32
  int64_t token_begin;
  int64_t token_end;
  QuantisedRows out;
};

// Panels are taken so many at a time, side by side, where there are as many.
inline constexpr int64_t kPackedPanels = 4;

// y[t, r] = sum over c of x[t, c] * w[r, c], for the rows of panels [panel_begin, panel_end).
struct PackedMatmulArgs {
  PackedWeights w;
  QuantisedRows x;
  float* y;  // [m, y_stride]
  int64_t y_stride;
  int64_t m;
  int64_t panel_begin;
  int64_t panel_end;
  bool add;            // y += instead of y =
  std::byte* scratch;  // [PackedScratchBytes(cols)]; the caller's thread's own
};
inline constexpr int64_t PackedScratchBytes(int64_t cols) {
  const int64_t corrections = kPackedWideFrom * (cols / 16) * int64_t{sizeof(int32_t)};
  const int64_t wide = 120 * 1024;  // of either way; packed_wide-inl.h and packed_tiles-inl.h check
  return corrections > wide ? corrections : wide;
}

// ---- Products of bf16 in tile registers, of the same packed weights or bf16: for many rows

// Sixteen tokens by 32 columns.
struct alignas(64) Bf16Tile {
  uint16_t q[kTileTokens][32];
};
// Tiles stand in pairs of 32 tokens, the last ones perhaps in part unused, in the order of
// [stretch of kTileStretch columns, or of what is left][pair][32 columns][2].
inline constexpr int64_t kTileStretch = 512;
inline constexpr int64_t TileCount(int64_t m, int64_t cols) {
  return (m + 31) / 32 * 2 * (cols / 32);
}
// x, or what RmsNorm makes of it, rounded to bf16, to nearest, ties to even.
struct RoundToTilesArgs {
  const float* x;  // [m, cols], row-major
  int64_t m;
  int64_t cols;  // a multiple of 32
  int64_t token_begin;
  int64_t token_end;
  Bf16Tile* out;                // [TileCount(m, cols)]
  const float* norm = nullptr;  // [cols], RmsNorm's weight; null: no norm
  float epsilon = 0;            // RmsNorm's
};
// y[t, r] = sum over c of x[t, c] * w[r, c], for the rows of panels [panel_begin, panel_end): both
// rounded to bf16, products and sums in f32.
struct TileMatmulArgs {
  PackedWeights w;
  const Bf16Tile* x;  // as RoundToTiles left it
  float* y;           // [m, y_stride]
  int64_t y_stride;
  int64_t m;
  int64_t panel_begin;
  int64_t panel_end;
  bool add;            // y += instead of y =
  std::byte* scratch;  // [kTileScratchBytes]; the caller's thread's own
  // The panels so far behind each are asked for from memory meanwhile: these come from a cache. 0:
  // the next ones of these are.
  int64_t ahead_panels = 0;
};
// out[t, r] = f(gate[t, r]) * up[t, r], rounded to bf16, with f of Activation and both products as
// TileMatmul has them: what a product with `down` reads, without a way through memory in f32.
struct TileGateArgs {
  PackedWeights gate;
  PackedWeights up;  // of gate's kind and shape
  const Bf16Tile* x;
  Bf16Tile* out;  // [TileCount(m, gate.rows)]; gate.rows a multiple of 32
  int64_t m;
  int64_t panel_begin;
  int64_t panel_end;
  std::byte* scratch;        // [kTileScratchBytes]; the caller's thread's own
  int64_t ahead_panels = 0;  // as TileMatmulArgs has it
};
inline constexpr int64_t kTileScratchBytes = (int64_t{1} << 20) + (int64_t{72} << 10) + 64;

// y = x / sqrt(mean(x^2) + epsilon) * weight, for each row. y may be x.
struct RmsNormArgs {
  const float* x;       // [rows, dim], row-major
  const float* weight;  // [dim]
  float* y;             // [rows, dim], row-major
  int64_t rows;
  int64_t dim;
  float epsilon;
};

// y = (x - mean(x)) / sqrt(variance(x) + epsilon) * weight + bias, for each row. y may be x.
struct LayerNormArgs {
  const float* x;       // [rows, dim], row-major
  const float* weight;  // [dim]
  const float* bias;    // [dim]
  float* y;             // [rows, dim], row-major
  int64_t rows;
  int64_t dim;
  float epsilon;
};

// x += bias, for each row.
struct AddBiasArgs {
  float* x;           // [rows, dim], row-major
  const float* bias;  // [dim]
  int64_t rows;
  int64_t dim;
};

// x = gelu(x + bias), for each row; gelu(v) = v * (1 + erf(v / sqrt(2))) / 2.
struct GeluArgs {
  float* x;           // [rows, dim], row-major
  const float* bias;  // [dim]
  int64_t rows;
  int64_t dim;
};

// Rotates the pairs i < pairs of every head in place: of elements (2i, 2i + 1), or, with `halves`,
// (i, i + pairs). What lies behind them in a head stays.
struct RopeArgs {
  float* x;          // [heads, head_dim], one position
  const float* cos;  // [pairs]
  const float* sin;  // [pairs]
  int64_t heads;
  int64_t head_dim;
  int64_t pairs;
  bool halves;
};

// Writes one position's keys, or values, of all heads into a KV block of `type` (KvLayout).
struct StoreKvArgs {
  const float* x;      // [heads, head_dim]
  std::byte* out;      // the heads' areas in the block, area_bytes apart
  KvType type;         // kInt8: a vector with an element that is not finite gets the scale NaN
  int64_t area_bytes;  // KvLayout::area_bytes()
  int64_t position;    // within the block
  int64_t block_tokens;
  int64_t heads;
  int64_t head_dim;
};

// Attention of some consecutive positions of a sequence, for the query heads that share one
// key/value head, by online softmax over the KV blocks in order: for query i and head h
//   out[i][h] = softmax(cap(q[i][h] . K^T * scale)) . V
// over the `positions + i` first positions, or, with a window, the last `window` of those. Keys and
// values are read as they are stored; sums are f32. What one query gives does not depend on the
// others.
struct AttentionArgs {
  const float* q;  // [queries], stride apart, [group, head_dim]
  float* out;      // as q
  int64_t stride;
  int64_t queries;                 // at least 1
  const std::byte* const* blocks;  // [ceil((positions + queries - 1) / block_tokens)], of KvLayout
  KvType type;
  int64_t key_offset;    // bytes, of this layer's and head's area of keys within a block
  int64_t value_offset;  // of its area of values
  int64_t block_tokens;
  int64_t positions;  // at least 1: what the first query attends to, its own position included
  int64_t window;     // 0: none; blocks before the first query's are not read
  int64_t group;
  int64_t head_dim;
  float scale;
  float score_cap;  // cap(s) = score_cap * tanh(s / score_cap); 0: s itself
  float* scratch;   // [AttentionScratch(queries * group, ...)]; the caller's thread's own
};
// Queries, by heads of a group, that one call had best take: they share each reading of a block.
inline constexpr int64_t kAttentionVectors = 32;
inline constexpr int64_t AttentionScratch(int64_t vectors, int64_t block_tokens, int64_t head_dim) {
  // Each vector's state of its softmax, scores, itself and its output; a block.
  return vectors * (4 + block_tokens + 2 * head_dim) + block_tokens * head_dim;
}

// The same with queries, keys, values and the softmax's weights rounded to bf16, in tile registers:
// for many queries. As many vectors as one call had best take, and its scratch, in floats.
inline constexpr int64_t kTileAttentionVectors = 512;
inline constexpr int64_t TileAttentionScratch(int64_t vectors, int64_t head_dim) {
  const int64_t padded = (vectors + 31) / 32 * 32;
  const int64_t dims = (head_dim + 31) / 32 * 32;
  // By vectors: themselves, their outputs, and three numbers; 64 keys and values, their scores and
  // weights.
  return 16 + padded * (dims / 2 + dims + 3) + 64 * dims + 64 * 32 + 64 * 32 / 2;
}

// Attention of one head to a whole text, in both directions, for some of its positions:
// out[i] = softmax(q[i] . K^T * scale) . V. The rows of q, k and v are row_stride apart.
struct EncoderAttentionArgs {
  const float* q;  // [queries, head_dim]
  const float* k;  // [positions, head_dim]
  const float* v;  // [positions, head_dim]
  float* out;      // [queries, head_dim], rows out_stride apart
  int64_t row_stride;
  int64_t out_stride;
  int64_t queries;
  int64_t positions;   // at least 1
  int64_t key_stride;  // EncoderAttentionStride(positions)
  int64_t head_dim;
  float scale;
  float* scratch;  // [EncoderAttentionScratch(positions, head_dim)]; the caller's thread's own
};
inline constexpr int64_t kEncoderQueryTile = 4;  // queries whose scores are held at once
// Whole vectors of any instruction set, and not a power of two, whose rows would share cache sets.
inline constexpr int64_t EncoderAttentionStride(int64_t positions) {
  return (positions + 15) / 16 * 16 + 16;
}
inline constexpr int64_t EncoderAttentionScratch(int64_t positions, int64_t head_dim) {
  return (head_dim + kEncoderQueryTile) * EncoderAttentionStride(positions);  // keys; scores
}

// gate = f(gate) * up, with f(x) = x / (1 + exp(-x)) (silu), or the tanh form of gelu.
struct GateArgs {
  float* gate;      // [count]
  const float* up;  // [count]
  int64_t count;
};

// x = cap * tanh(x / cap).
struct SoftCapArgs {
  float* x;  // [count]
  int64_t count;
  float cap;  // above 0
};

struct CpuKernels {
  void (*matmul)(const MatmulArgs& args);
  void (*rms_norm)(const RmsNormArgs& args);
  void (*rope)(const RopeArgs& args);
  void (*store_kv)(const StoreKvArgs& args);
  void (*attention)(const AttentionArgs& args);
  void (*silu_gate)(const GateArgs& args);
  void (*gelu_gate)(const GateArgs& args);
  void (*soft_cap)(const SoftCapArgs& args);
  void (*layer_norm)(const LayerNormArgs& args);
  void (*add_bias)(const AddBiasArgs& args);
  void (*gelu)(const GeluArgs& args);
  void (*encoder_attention)(const EncoderAttentionArgs& args);
  // Both null where the instruction set has no integer dot product.
  void (*quantise)(const QuantiseArgs& args) = nullptr;
  void (*packed_matmul)(const PackedMatmulArgs& args) = nullptr;
  bool token_tiles = false;  // QuantisedRows::byte_tiles and tiles
  // All null where the instruction set has no tile registers.
  void (*round_to_tiles)(const RoundToTilesArgs& args) = nullptr;
  void (*tile_matmul)(const TileMatmulArgs& args) = nullptr;
  void (*tile_silu_gate)(const TileGateArgs& args) = nullptr;
  void (*tile_gelu_gate)(const TileGateArgs& args) = nullptr;
  void (*tile_attention)(const AttentionArgs& args) = nullptr;  // scratch: TileAttentionScratch
};

// `level` must be one that this machine has.
const CpuKernels& KernelsFor(SimdLevel level);

// One table per compilation of the kernels.
extern const CpuKernels kBaselineKernels;
extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;
extern const CpuKernels kAvx512VnniKernels;
extern const CpuKernels kAmxKernels;

}  // namespace baton
