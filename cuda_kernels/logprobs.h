#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// Natural logarithms of the probabilities that the softmax of a row gives to the token that was
// chosen and to the most likely ones, ties to the lower id (engine/model/logprobs.h).
struct LogprobArgs {
  const float* logits;    // [rows, vocabulary], rows `stride` apart; -inf: probability 0
  const int32_t* slots;   // [rows], each slot at most once; below 0: the row pads the batch
  const int32_t* wanted;  // [slots]: 0 to top; below 0: nothing of this slot is written
  const int32_t* tokens;  // [slots]: what was chosen
  float* chosen;          // [slots]
  int32_t* top_tokens;    // [slots, top], the first `wanted` written, -1 beyond the vocabulary
  float* top_logprobs;    // [slots, top], as well, then -inf
  int64_t rows;
  int64_t vocabulary;  // 1 to 2^31 - 1
  int64_t stride;      // elements
  int32_t top;         // 0 to kLogprobsMax
};
inline constexpr int32_t kLogprobsMax = 64;

cudaError_t Logprobs(const LogprobArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
