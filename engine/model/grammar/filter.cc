#include "engine/model/grammar/filter.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/strings.h"

namespace baton {
namespace {

size_t WordOf(TokenId token) { return static_cast<size_t>(token) / 64; }
uint64_t BitOf(TokenId token) { return uint64_t{1} << (static_cast<size_t>(token) % 64); }

}  // namespace

GrammarFilter::GrammarFilter(std::shared_ptr<const Grammar> grammar,
                             const std::vector<TokenId>& ends)
    : grammar_(std::move(grammar)),
      matcher_(GrammarMatcher::Make(grammar_)),
      allowed_(GrammarMatcher::Words(grammar_->vocabulary().size())) {
  const GrammarVocabulary& vocabulary = grammar_->vocabulary();
  for (const TokenId token : ends) {
    if (!vocabulary.Contains(token)) continue;
    (vocabulary.Bytes(token).empty() ? silent_ends_ : spelling_ends_).push_back(token);
  }
  // A token given twice would be counted twice.
  std::sort(spelling_ends_.begin(), spelling_ends_.end());
  spelling_ends_.erase(std::unique(spelling_ends_.begin(), spelling_ends_.end()),
                       spelling_ends_.end());
  Update();
}

bool GrammarFilter::IsAllowed(TokenId token) const {
  return (allowed_[WordOf(token)] & BitOf(token)) != 0;
}

void GrammarFilter::Update() {
  absl::Status status = matcher_.status();
  if (status.ok()) {
    const absl::StatusOr<int32_t> count = matcher_->Allowed(allowed_);
    status = count.status();
    allowed_count_ = count.value_or(0);
  }
  if (!status.ok()) {
    status_ = absl::InvalidArgumentError(status.message());
    return;
  }
  // Which of the tokens that spell nothing end the text, `ends` says.
  for (const TokenId token : grammar_->vocabulary().end_of_text()) {
    if (!IsAllowed(token)) continue;
    allowed_[WordOf(token)] &= ~BitOf(token);
    --allowed_count_;
  }
  complete_ = allowed_count_ == 0;
}

void GrammarFilter::Apply(std::span<float> logits, bool may_end) const {
  if (complete_ || !status_.ok()) return;
  std::vector<uint64_t> kept = allowed_;
  if (may_end) {
    for (const TokenId token : silent_ends_) {
      if (matcher_->CanEnd()) kept[WordOf(token)] |= BitOf(token);
    }
  } else {
    const auto ends = std::count_if(spelling_ends_.begin(), spelling_ends_.end(),
                                    [this](TokenId token) { return IsAllowed(token); });
    for (const TokenId token : spelling_ends_) {
      if (ends < allowed_count_) kept[WordOf(token)] &= ~BitOf(token);
    }
  }
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool keep = i / 64 < kept.size() && (kept[i / 64] >> (i % 64) & 1) != 0;
    if (!keep) logits[i] = -std::numeric_limits<float>::infinity();
  }
}

void GrammarFilter::Advance(TokenId token) {
  if (complete_ || !status_.ok()) return;
  if (std::find(silent_ends_.begin(), silent_ends_.end(), token) != silent_ends_.end()) {
    complete_ = true;
    return;
  }
  if (const absl::Status status = matcher_->Advance(token); !status.ok()) {
    status_ = absl::InvalidArgumentError(status.message());
    return;
  }
  Update();
}

}  // namespace baton
