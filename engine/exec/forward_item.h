#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/base/ids.h"
#include "engine/model/sampler.h"

namespace baton {

// Consecutive positions of one sequence, as a forward pass takes them.
struct ForwardItem {
  std::span<const TokenId> tokens = {};     // at least one
  int32_t generated = 0;                    // so many of its last tokens are not of the prompt
  int32_t position = 0;                     // of the first token
  std::span<std::byte* const> blocks = {};  // of positions [0, position + tokens), as in LlmItem
  int32_t logits = 0;                       // wanted after so many of its last tokens
  // Where one row of logits is wanted, for nothing but to choose a token in this way: a device may
  // do so and give the token instead.
  std::optional<PlainSampling> sampling = {};
  bool deterministic = false;  // as LlmItem's
};

}  // namespace baton
