#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace baton::cuda {

// What is done to a slot's logits before a token is chosen, as engine/model/logits_processor.h does
// it, to the same bits: biases are added, tokens that were there are made less likely by the
// repetition penalty (Keskar et al., 2019), frequency and presence penalties are taken off, and
// tokens are excluded. No token is twice in one of the first three lists.
struct TokenValue {
  int32_t token;  // within the vocabulary
  float value;
};
struct PenaltyParams {
  float repetition;  // above 0: what is above 0 is divided by it, all else multiplied with it
  // A slot's four lists follow one another.
  int32_t begin;
  int32_t biases;     // so many; their values are added
  int32_t repeated;   // values do not count
  int32_t penalties;  // values are taken off
  int32_t excluded;   // become -inf; values do not count
};

struct PenaltyArgs {
  float* logits;                // [rows, vocabulary], rows `stride` apart, read and written
  const PenaltyParams* params;  // [slots]
  const TokenValue* lists;      // those of all slots
  const int32_t* slots;         // [rows]; below 0: the row stays as it is
  int64_t rows;
  int64_t stride;  // elements
};
cudaError_t Penalise(const PenaltyArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
