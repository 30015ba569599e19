#pragma once

// What one run of the decoder is told: the contract of host and `sequencer`. Banks, kv units,
// vector unit and sampler are started once, when a model is loaded, with addresses that stay; they
// take what the sequencer sends, token by token, until it sends the end. A token is one run of the
// sequencer: the host places the token's embedding, its sequence's block tables and how to sample,
// and finds the sampler's answer when the run is over. The program of a model is the same for all
// its tokens.
//
// Numbers: "Qn" stands for the integer times 2^-n. The residual stream, biases and logits are Q16;
// norm weights are Q24; cosines and sines of RoPE are Q29, for (frequency 0, 1, ...) of a position
// side by side.

#include <stdint.h>

#include "fpga_kernels/kv_args.h"

namespace baton {
namespace fpga {

constexpr int kVectorLanes = 8;  // numbers that the vector unit takes in a cycle
constexpr int kDecodeDimMax = 8192;
constexpr int kDecodeFfnMax = 28672;
constexpr int kDecodeQkvMax = 16384;  // (heads + 2 * kv_heads) * head_dim
constexpr int kDecodeHeadDimMax = 256;
constexpr int kDecodeGroupMax = 16;  // heads of a kv head
constexpr int kDecodePositionsMax = 1 << 17;
constexpr int kResidualFraction = 16;
constexpr int kNormWeightFraction = 24;
constexpr int kRopeFraction = 29;

enum DecodeOp : uint32_t {
  kOpEnd = 0,     // of the program; to units: of their run
  kOpNorm = 1,    // activations = RMSNorm(residual) * weights
  kOpGemv = 2,    // destination = matrix * activations (+ bias)
  kOpAttend = 3,  // RoPE of queries and keys, this position's keys and values to the cache,
                  // activations = attention over all positions so far
  kOpGate = 4,    // activations = silu(gate) * up
  kOpEmbed = 5,   // residual = embedding: first in each program
};
enum GemvDestination : uint32_t {
  kToScratch = 0,   // queries, keys and values; or gate, then up
  kToResidual = 1,  // added
  kToLogits = 2,    // to the sampler
};

constexpr uint32_t kNoVector = UINT32_MAX;

struct DecodeCommand {
  uint32_t op;
  uint32_t destination;  // GemvDestination
  uint32_t rows;         // kOpGemv: of the matrix; kOpNorm: values; kOpGate: ffn_dim;
                         // kOpEmbed: dim
  uint32_t cols;
  uint64_t bank_beat;     // where the matrix begins in each bank, in beats
  uint32_t vector_at;     // norm weights; kOpAttend: the RoPE table [positions, rope_dims / 2, 2]
  uint32_t bias_at;       // [rows]; kNoVector: none. Both count int32s of the vector memory
  int32_t weight_shift;   // weights stand for scale * q * 2^-weight_shift
  uint32_t norm_epsilon;  // Q32
  uint32_t heads;         // a multiple of kv_heads
  uint32_t kv_heads;
  uint32_t head_dim;
  uint32_t rope_dims;    // the first so many dimensions of a head turn
  uint32_t rope_halves;  // 1: (i, i + rope_dims / 2) turn together; 0: (2i, 2i + 1)
  uint32_t layer;
  uint32_t layers;
  uint32_t window;        // positions attended to, its own included; 0: all
  uint32_t block_tokens;  // a power of two
  // log2(e) * attention scale = score_mantissa * 2^-score_shift, the mantissa of 31 bits
  uint32_t score_mantissa;
  int32_t score_shift;
  // The sequencer fills these in, the same for all commands of a token.
  uint32_t position;
  uint32_t embedding_at;  // of the vector unit's embeddings, in int32s
  uint32_t table_at;      // of each kv unit's block tables, in entries
  uint32_t reserved[8];
};
static_assert(sizeof(DecodeCommand) == 128, "two beats: the host writes programs as they lie");

// Units trust their commands: a program with a fault must not get to a card. Null: none.
inline const char* FaultOf(const DecodeCommand& c) {
  switch (c.op) {
    case kOpEnd:
      return nullptr;
    case kOpNorm:
      if (c.rows == 0 || c.rows > kDecodeDimMax) return "norm: rows must be 1 to 8192";
      return nullptr;
    case kOpGemv:
      if (c.cols == 0 || c.cols > kDecodeFfnMax) return "gemv: cols must be 1 to 28672";
      if (c.destination > kToLogits) return "gemv: unknown destination";
      if (c.destination == kToScratch && c.rows > 2 * kDecodeFfnMax) {
        return "gemv: rows to the scratch must be at most 57344";
      }
      if (c.destination == kToResidual && c.rows > kDecodeDimMax) {
        return "gemv: rows to the residual must be at most 8192";
      }
      return nullptr;
    case kOpAttend:
      if (c.kv_heads == 0 || c.heads == 0 || c.heads % c.kv_heads != 0) {
        return "attend: heads must be a multiple of kv_heads, and not 0";
      }
      if (c.heads / c.kv_heads > kDecodeGroupMax) {
        return "attend: heads of a kv head must be at most 16";
      }
      if (c.head_dim == 0 || c.head_dim > kDecodeHeadDimMax) {
        return "attend: head_dim must be 1 to 256";
      }
      if ((static_cast<uint64_t>(c.heads) + 2 * static_cast<uint64_t>(c.kv_heads)) * c.head_dim >
          kDecodeQkvMax) {
        return "attend: (heads + 2 * kv_heads) * head_dim must be at most 16384";
      }
      if (c.rope_dims % 2 != 0 || c.rope_dims > c.head_dim) {
        return "attend: rope_dims must be even and at most head_dim";
      }
      if (c.layer >= c.layers) return "attend: layer must be below layers";
      if (c.block_tokens == 0 || c.block_tokens > kKvBlockTokensMax ||
          (c.block_tokens & (c.block_tokens - 1)) != 0) {
        return "attend: block_tokens must be a power of two up to 64";
      }
      if (c.position >= kDecodePositionsMax) return "attend: position must be below 131072";
      return nullptr;
    case kOpEmbed:
      if (c.rows == 0 || c.rows > kDecodeDimMax) return "embed: rows must be 1 to 8192";
      return nullptr;
    case kOpGate:
      if (c.rows == 0 || c.rows > kDecodeFfnMax) return "gate: rows must be 1 to 28672";
      return nullptr;
    default:
      return "unknown op";
  }
}

}  // namespace fpga
}  // namespace baton
