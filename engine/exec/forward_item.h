#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engine/base/ids.h"
#include "engine/model/sampler.h"
#include "engine/request/generate_request.h"

namespace baton {

// Consecutive positions of one sequence, as a forward pass takes them.
struct ForwardItem {
  std::span<const TokenId> tokens = {};     // at least one
  int32_t generated = 0;                    // so many of its last tokens are not of the prompt
  int32_t position = 0;                     // of the first token
  std::span<std::byte* const> blocks = {};  // of positions [0, position + tokens), as in LlmItem
  int32_t logits = 0;                       // wanted after so many of its last tokens
  // Where one row of logits is wanted, for nothing but to choose a token in this way: a device may
  // do so and give the token instead. And, where `logprobs` is there, its log probability and those
  // of so many alternatives.
  std::optional<PlainSampling> sampling = {};
  std::optional<int32_t> logprobs = {};
  bool deterministic = false;  // as LlmItem's
};

// In the place of logits, of an item with `sampling`: what a device has chosen.
struct ChosenToken {
  TokenId token = 0;
  uint64_t random_state = 0;                   // behind it
  std::optional<TokenLogprobs> logprobs = {};  // where the item has asked
};

}  // namespace baton
