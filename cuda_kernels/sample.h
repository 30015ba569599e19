#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// How the next token of a row is chosen, as engine/model/sampler.h says it: greedy, or drawn from
// what top_k, top_p and min_p leave, by splitmix64.
struct SampleParams {
  float temperature;  // 0: greedy
  int32_t top_k;      // 0: all
  float top_p;        // (0, 1]
  float min_p;        // [0, 1]
};

// The same logits, settings and state give the same token in any company: sums are of integers.
struct SampleArgs {
  const float* logits;         // [rows, vocabulary], rows `stride` apart; -inf excludes a token
  const SampleParams* params;  // [slots]
  uint64_t* states;            // [slots], of splitmix64; one step to each token that is drawn
  const int32_t* slots;        // [rows], each slot at most once; below 0: the row pads the batch
  int32_t* tokens;             // [slots]
  float* chosen;               // [slots], or null: the tokens' logits; NaN where there is no token
  int64_t rows;
  int64_t vocabulary;  // 1 to 2^24 - 1
  int64_t stride;      // elements
};
cudaError_t Sample(const SampleArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
