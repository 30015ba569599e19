#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// How a slot's logits are changed before a token is chosen, as engine/model/logits_processor.h does
// it, to the same bits: bias, repetition penalty (Keskar et al., 2019), frequency and presence
// penalty, then tokens that a mask excludes.
struct PenaltyParams {
  float repetition;    // 1: off
  int32_t last_n;      // tokens that repetition looks at, 0 to window_capacity; -1: all
  float frequency;     // 0: off
  float presence;      // 0: off
  int32_t bias_begin;  // in PenaltyArgs::biases
  int32_t bias_count;
  int32_t masked;  // not 0: the slot's mask counts
};
struct TokenBias {
  int32_t token;  // each once in a slot
  float bias;
};

struct PenaltyArgs {
  const float* logits;           // [rows, vocabulary], rows `stride` apart
  float* out;                    // [rows, vocabulary], rows `stride` apart; may be logits
  const PenaltyParams* params;   // [slots]
  const int32_t* slots;          // [rows]; below 0: the row pads the batch, out is not written
  const int32_t* window_counts;  // [slots, vocabulary]: how often in what repetition looks at
  const int32_t* chosen_counts;  // [slots, vocabulary]: how often in the text so far
  const TokenBias* biases;       // those of all slots
  const uint32_t* masks;         // [slots, ceil(vocabulary / 32)]: bit t % 32 of word t / 32 lets t
                                 // be chosen; may be null where no slot is masked
  int64_t rows;                  // at most kGridYMax
  int64_t vocabulary;
  int64_t stride;  // elements
};
cudaError_t Penalise(const PenaltyArgs& args, cudaStream_t stream);

// Each slot's text goes on with some tokens: a prompt, which only repetition looks at, or chosen
// ones. Before a slot's first ones its counts and `remembered` are 0.
struct RememberArgs {
  const int32_t* tokens;        // those of all rows, within the vocabulary
  const int32_t* begins;        // [rows + 1]: a row's are tokens[begins[row]] to begins[row + 1]
  const int32_t* slots;         // [rows], each slot at most once; below 0: the row pads the batch
  const PenaltyParams* params;  // [slots]
  int32_t* window_counts;       // [slots, vocabulary]
  int32_t* chosen_counts;       // [slots, vocabulary]
  int32_t* window;              // [slots, window_capacity]: the last last_n tokens, in a ring
  int64_t* remembered;          // [slots]: tokens so far
  int64_t rows;
  int64_t vocabulary;
  int64_t window_capacity;
  bool chosen;  // false: of prompts
};
cudaError_t RememberTokens(const RememberArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
