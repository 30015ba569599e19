#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace baton {

// Whether the files of an architecture hold a tensor.
enum class Presence : uint8_t { kAbsent, kOptional, kRequired };

// Tensors that divide the rotation frequencies: none; rope_freqs, where the file has it; or, where
// it has them, rope_factors_short and rope_factors_long for contexts up to and beyond the original.
enum class RopeFactors : uint8_t { kNone, kOne, kShortAndLong };

// Which elements of a head rotate together, i below rope_dims / 2.
enum class RopePairs : uint8_t {
  kAdjacent,  // (2i, 2i + 1)
  kHalves,    // (i, i + rope_dims / 2)
};

// Of the feed-forward network's gate.
enum class Activation : uint8_t { kSilu, kGeluTanh };

// What sets one of GGUF's decoder architectures apart. All of them are layers of attention and a
// gated feed-forward network, each behind an RMS norm and added to the residual stream; what the
// file's keys say is read from there, and this is the rest. Loading (language_model.cc) and the
// forward pass follow it: a further architecture is a further entry in architectures.cc.
struct Architecture {
  std::string_view name;  // as key general.architecture has it; its other keys begin with it

  // Tensors, N being a layer, beside those that every architecture has.
  bool fused_qkv = false;      // blk.N.attn_qkv: rows of the queries, the keys, the values
  bool fused_gate_up = false;  // blk.N.ffn_up: rows of the gate, then of up
  Presence qkv_bias = Presence::kAbsent;
  Presence output_bias = Presence::kAbsent;  // of the attention's output
  bool qk_norms = false;                     // each head's queries and keys, before they rotate
  bool post_norms = false;                   // both branches, before they are added
  RopeFactors rope_factors = RopeFactors::kNone;

  RopePairs rope_pairs = RopePairs::kAdjacent;
  Activation activation = Activation::kSilu;
  bool scaled_embedding = false;  // times sqrt(dim)

  // Used where the file has no key for it; 0: none.
  float score_cap = 0;
  float logit_cap = 0;
  int32_t window = 0;
  // Of so many layers in turn the last attends to everything, the others to their window; 0: every
  // layer has its window.
  int32_t window_period = 0;
  // Above 0: layers with a window rotate by a base of their own, and no scaling applies to them.
  float window_rope_base = 0;

  // A model of just so many layers scales scores by 1 / sqrt(dim / heads), all others by
  // 1 / sqrt(head_dim): files do not say.
  int32_t width_scaled_layers = 0;
};

// Null: not supported.
const Architecture* FindArchitecture(std::string_view name);

// Every supported name, in quotes, for messages: "'a', 'b' and 'c'".
std::string SupportedArchitectures();

}  // namespace baton
