#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/ids.h"
#include "engine/request/generate_request.h"

namespace baton {

// Chooses the next token of one sequence. Owns the sequence's random state, so the same seed and
// logits give the same tokens whatever else runs. Not thread safe; one per sequence.
class Sampler {
 public:
  // `params.seed` must be set.
  explicit Sampler(const SamplingParams& params);

  // logits: [vocabulary], f32, all finite except that -inf excludes a token; left unmodified. Ties
  // go to the lower id.
  TokenId Sample(std::span<const float> logits);

 private:
  uint64_t NextRandom();

  SamplingParams params_;
  uint64_t state_;
  std::vector<std::pair<float, TokenId>> candidates_;  // reused between calls
};

}  // namespace baton
