#include "engine/schedule/lookup_drafter.h"

#include <algorithm>

namespace baton {
namespace {

constexpr TokenId kSeparator = -1;  // matches no token
// Tokens that are looked through: some microseconds.
constexpr ptrdiff_t kHistoryMax = 32 * 1024;
// A longer match tells no more about what follows.
constexpr ptrdiff_t kMatchMax = 8;
// A single token that stood in more places than this says little about what follows.
constexpr int kSingleTokenPlacesMax = 2;
// Before any guess was verified: what answers that quote their passages come to.
constexpr double kFirstShare = 0.7;
constexpr double kFirstWeakShare = 0.4;
constexpr double kFirstNextShare = 0.6;
constexpr double kShareWeight = 0.1;  // of the latest guess
// A guess costs at least this share of a step, and no guess is as long as what costs nothing would.
constexpr double kTokenCostMin = 1.0 / 64;
// Kernels take up to so many tokens at once, and more in several passes: beyond it, guesses fill
// these with the token before them.
constexpr int32_t kTokensAtOnce = 8;
// While guessing does not pay, one token in so many is guessed to see whether it would.
constexpr int kProbeInterval = 8;

}  // namespace

LookupDrafter::LookupDrafter(std::span<const TokenId> prompt,
                             std::span<const std::vector<TokenId>> texts, int32_t draft_tokens_max)
    : draft_tokens_max_(draft_tokens_max),
      token_cost_(kTokenCostMin),
      right_(kFirstShare),
      weak_right_(kFirstWeakShare),
      next_right_(kFirstNextShare) {
  if (draft_tokens_max == 0) return;
  for (const std::vector<TokenId>& text : texts) {
    history_.push_back(kSeparator);
    history_.insert(history_.end(), text.begin(), text.end());
  }
  history_.push_back(kSeparator);
  history_.insert(history_.end(), prompt.begin(), prompt.end());
}

bool LookupDrafter::pays() const { return BestLength(/*weak=*/false) > 0; }

int32_t LookupDrafter::BestLength(bool weak) const {
  int32_t best_length = 0;
  double best_rate = 1;
  double tokens = 1;  // that such a step makes on average
  double right = weak ? weak_right_ : right_;
  for (int32_t length = 1; length <= draft_tokens_max_; ++length) {
    tokens += right;
    right *= next_right_;
    if (length >= kTokensAtOnce && (length + 1) % kTokensAtOnce != 0) continue;
    const double rate = tokens / (1 + token_cost_ * length);
    if (rate <= best_rate) continue;
    best_rate = rate;
    best_length = length;
  }
  return best_length;
}

void LookupDrafter::Append(std::span<const TokenId> tokens) {
  if (draft_tokens_max_ == 0) return;
  Score(tokens);
  history_.insert(history_.end(), tokens.begin(), tokens.end());
}

void LookupDrafter::Score(std::span<const TokenId> tokens) {
  const auto [wrong, after] =
      std::mismatch(guess_.begin(), guess_.end(), tokens.begin(), tokens.end());
  const auto learn = [&](ptrdiff_t token, bool was_right) {
    double& share = token > 0 ? next_right_ : guess_is_weak_ ? weak_right_ : right_;
    share += kShareWeight * ((was_right ? 1.0 : 0.0) - share);
  };
  const ptrdiff_t right = wrong - guess_.begin();
  for (ptrdiff_t token = 0; token < right; ++token) learn(token, true);
  if (wrong != guess_.end() && after != tokens.end()) learn(right, false);
  guess_.clear();
}

std::vector<TokenId> LookupDrafter::Draft(double token_cost) {
  if (draft_tokens_max_ == 0) return {};
  guess_.clear();
  token_cost_ = std::max(token_cost, kTokenCostMin);
  unpaid_drafts_ = pays() ? 0 : unpaid_drafts_ + 1;
  if (unpaid_drafts_ % kProbeInterval != 0) return {};
  const std::optional<Place> place = LastMatch();
  if (!place.has_value()) return {};
  const int32_t length = BestLength(place->weak);
  const auto first = history_.begin() + place->end;
  const auto last = first + std::min<ptrdiff_t>(std::max(length, 1), history_.end() - first);
  guess_.assign(first, std::find(first, last, kSeparator));
  guess_is_weak_ = place->weak;
  return length > 0 && unpaid_drafts_ == 0 ? guess_ : std::vector<TokenId>();
}

// The longest match of the last tokens; of equally long ones, the latest.
std::optional<LookupDrafter::Place> LookupDrafter::LastMatch() const {
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
  if (best_length == 0) return std::nullopt;
  return Place{.end = best + 1, .weak = best_length == 1 && places > kSingleTokenPlacesMax};
}

}  // namespace baton
