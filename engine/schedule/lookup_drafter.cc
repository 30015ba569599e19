#include "engine/schedule/lookup_drafter.h"

#include <algorithm>
#include <bit>

namespace baton {
namespace {

constexpr TokenId kSeparator = -1;  // matches no token
// Tokens that are looked through: some microseconds.
constexpr ptrdiff_t kHistoryMax = 32 * 1024;
// A longer match tells no more about what follows.
constexpr ptrdiff_t kMatchMax = 8;
// A single token that stood in more places than this says nothing about what follows.
constexpr int kSingleTokenPlacesMax = 2;
// Guesses are one shorter than a power of two: with the token before them, they are what kernels
// take at once (ActivationTile), where one more would be a pass of its own.
constexpr uint32_t kFirstLength = 3;
// Of at least so many tokens, or the longest up to the limit.
constexpr int32_t LengthFor(uint32_t tokens, int32_t limit) {
  const uint32_t longest = std::bit_floor(static_cast<uint32_t>(limit) + 1);
  return static_cast<int32_t>(std::min(std::bit_ceil(tokens + 1), longest)) - 1;
}
constexpr double kFirstShare = 0.5;
constexpr double kShareWeight = 0.1;  // of the latest guess
// A verified guess costs a fraction of a step even where memory is the limit.
constexpr double kShareMin = 0.2;
// While guessing does not pay, one token in so many is guessed to see whether it would.
constexpr int kProbeInterval = 8;

}  // namespace

LookupDrafter::LookupDrafter(std::span<const TokenId> prompt,
                             std::span<const std::vector<TokenId>> texts, int32_t draft_tokens_max)
    : draft_tokens_max_(draft_tokens_max),
      length_(LengthFor(kFirstLength, draft_tokens_max)),
      right_(kFirstShare) {
  if (draft_tokens_max == 0) return;
  for (const std::vector<TokenId>& text : texts) {
    history_.push_back(kSeparator);
    history_.insert(history_.end(), text.begin(), text.end());
  }
  history_.push_back(kSeparator);
  history_.insert(history_.end(), prompt.begin(), prompt.end());
}

bool LookupDrafter::pays() const { return draft_tokens_max_ > 0 && right_ >= kShareMin; }

void LookupDrafter::Append(std::span<const TokenId> tokens) {
  if (draft_tokens_max_ == 0) return;
  if (!guess_.empty()) {
    const auto [wrong, after] =
        std::mismatch(guess_.begin(), guess_.end(), tokens.begin(), tokens.end());
    const auto right = static_cast<int32_t>(wrong - guess_.begin());
    right_ += kShareWeight * ((right > 0 ? 1.0 : 0.0) - right_);
    if (given_) {
      // Twice as many where all were right, else one more than were.
      const int32_t next = wrong == guess_.end() ? length_ + 1 : right + 1;
      length_ = LengthFor(static_cast<uint32_t>(next), draft_tokens_max_);
    }
    guess_.clear();
  }
  history_.insert(history_.end(), tokens.begin(), tokens.end());
}

std::vector<TokenId> LookupDrafter::Draft() {
  if (draft_tokens_max_ == 0) return {};
  given_ = pays();
  unpaid_drafts_ = given_ ? 0 : unpaid_drafts_ + 1;
  if (unpaid_drafts_ % kProbeInterval != 0) return {};
  guess_ = Guess();
  return given_ ? guess_ : std::vector<TokenId>();
}

// What followed the longest match of the last tokens; of equally long ones, the latest.
std::vector<TokenId> LookupDrafter::Guess() const {
  const auto end = static_cast<ptrdiff_t>(history_.size());
  const ptrdiff_t begin = std::max<ptrdiff_t>(0, end - kHistoryMax);
  const TokenId last = history_.back();
  ptrdiff_t best_length = 0;
  ptrdiff_t best = 0;
  int places = 0;
  for (ptrdiff_t i = end - 2; i >= begin; --i) {
    if (history_[i] != last) continue;
    ++places;
    ptrdiff_t length = 1;
    while (length < kMatchMax && i - length >= begin && history_[i - length] != kSeparator &&
           history_[i - length] == history_[end - 1 - length]) {
      ++length;
    }
    if (length > best_length) {
      best_length = length;
      best = i;
      if (length == kMatchMax) break;
    }
  }
  if (best_length == 0 || (best_length == 1 && places > kSingleTokenPlacesMax)) return {};
  const auto first = history_.begin() + best + 1;
  const auto stop =
      std::find(first, history_.begin() + std::min(end, best + 1 + length_), kSeparator);
  return {first, stop};
}

}  // namespace baton
