#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "engine/base/ids.h"
#include "engine/model/logit_changes.h"
#include "engine/model/logits_processor.h"
#include "engine/request/generate_request.h"

namespace baton {

// All that a choice depends on beside the logits, where no grammar has a say: for devices that
// choose themselves, by the same rules. Valid until the sampler goes on.
struct PlainSampling {
  float temperature = 0;      // 0: greedy
  int32_t top_k = 0;          // 0: all
  float top_p = 1;            // (0, 1]
  float min_p = 0;            // [0, 1]
  uint64_t random_state = 0;  // of splitmix64
  LogitChanges changes = {};
};

// Chooses the next token of one sequence. Owns what the choice depends on beside the logits: the
// random state and what penalties remember, so the same setup and logits give the same tokens
// whatever else runs. Not thread safe; one per sequence.
class Sampler {
 public:
  explicit Sampler(const SamplerSetup& setup);

  // logits: [vocabulary], f32, all finite except that -inf excludes a token; left unmodified. Ties
  // go to the lower id. The sequence goes on with the token.
  TokenId Sample(std::span<const float> logits);

  // How the next token is chosen; absent under a grammar.
  std::optional<PlainSampling> plain() const;
  // The sequence goes on with what was chosen elsewhere by plain().
  void TakeChosen(TokenId token, uint64_t random_state);

  // Of the text up to the token sampled last; see LogitsProcessor.
  bool complete() const { return processor_.complete(); }
  absl::Status status() const { return processor_.status(); }

 private:
  TokenId Choose(std::span<const float> logits);
  uint64_t NextRandom();

  LogitsProcessor processor_;
  SamplingParams params_;
  uint64_t state_;
  std::vector<float> processed_;                       // reused between calls
  std::vector<std::pair<float, TokenId>> candidates_;  // reused between calls
};

}  // namespace baton
