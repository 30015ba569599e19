#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"

namespace baton {

// A text, or a pair of texts, as a forward pass takes it: an EncoderInput.
struct EncoderText {
  std::span<const TokenId> tokens;
  int32_t second = 0;  // where a pair's second text begins; 0: no pair
  // What comes of it must not depend on the step's other texts, which then are computed so, too.
  bool deterministic = false;
};

// The forward pass of an encoder on some device. Not thread safe.
class EncoderPass {
 public:
  virtual ~EncoderPass() = default;

  // Tokens that one step takes at most, at least the context.
  virtual int32_t step_tokens_max() const = 0;
  // Appends an embedding of length one, [dim], for each text; of a cross-encoder the score, [1].
  // INVALID_ARGUMENT: a text or the step does not fit the model; INTERNAL: a value is not finite.
  // Nothing is appended then.
  virtual absl::Status Run(std::span<const EncoderText> texts,
                           std::vector<std::vector<float>>* embeddings) = 0;
};

}  // namespace baton
