#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "engine/base/ids.h"
#include "engine/model/token_counts.h"

namespace baton {

// What is done to a sequence's logits before its next token is chosen, in this order; no token is
// twice in one list but `excluded`. Valid until the sequence goes on.
struct LogitChanges {
  std::span<const std::pair<TokenId, float>> biases = {};  // added
  // What is above 0 is divided by `repetition`, all else multiplied with it.
  std::span<const TokenCounts::Entry> repeated = {};
  float repetition = 1;
  // PenaltyOf their counts is taken off.
  std::span<const TokenCounts::Entry> chosen = {};
  float presence = 0;
  float frequency = 0;
  std::span<const TokenId> excluded = {};  // -inf

  float PenaltyOf(int32_t count) const { return static_cast<float>(count) * frequency + presence; }
  bool any() const {
    return !biases.empty() || !repeated.empty() || !chosen.empty() || !excluded.empty();
  }
};

}  // namespace baton
