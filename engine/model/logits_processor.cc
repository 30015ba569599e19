#include "engine/model/logits_processor.h"

#include <algorithm>
#include <limits>

namespace baton {

std::span<const TokenId> RepetitionWindow(const SamplingParams& params,
                                          std::span<const TokenId> prompt) {
  if (params.repetition_penalty == 1) return {};
  if (params.penalty_last_n < 0) return prompt;
  return prompt.last(std::min(prompt.size(), static_cast<size_t>(params.penalty_last_n)));
}

LogitsProcessor::LogitsProcessor(const SamplerSetup& setup)
    : bias_(setup.params.logit_bias.begin(), setup.params.logit_bias.end()),
      repetition_(setup.params.repetition_penalty),
      last_n_(repetition_ == 1 ? 0 : setup.params.penalty_last_n),
      presence_(setup.params.presence_penalty),
      frequency_(setup.params.frequency_penalty),
      min_tokens_(setup.min_tokens),
      ends_(setup.ends),
      changes_(!bias_.empty() || last_n_ != 0 || presence_ != 0 || frequency_ != 0) {
  if (setup.grammar != nullptr) filter_.emplace(setup.grammar, ends_);
  for (const TokenId token : setup.prompt) Remember(token);
  for (const TokenId token : setup.generated) Advance(token);
}

// Without what a grammar excludes, whose matter ends are where there is one.
LogitChanges LogitsProcessor::ChangesByTokens() const {
  LogitChanges changes{.biases = bias_,
                       .repeated = window_counts_.entries(),
                       .repetition = repetition_,
                       .chosen = generated_counts_.entries(),
                       .presence = presence_,
                       .frequency = frequency_};
  if (Excludes() && !filter_.has_value()) changes.excluded = ends_;
  return changes;
}

std::optional<LogitChanges> LogitsProcessor::changes() const {
  if (filter_.has_value()) return std::nullopt;
  return ChangesByTokens();
}

void LogitsProcessor::Apply(std::span<float> logits) const {
  const auto at = [logits](TokenId token) -> float& { return logits[static_cast<size_t>(token)]; };
  const LogitChanges changes = ChangesByTokens();
  for (const auto& [token, bias] : changes.biases) at(token) += bias;
  for (const auto& [token, count] : changes.repeated) {
    float& logit = at(token);
    logit = logit > 0 ? logit / changes.repetition : logit * changes.repetition;
  }
  for (const auto& [token, count] : changes.chosen) at(token) -= changes.PenaltyOf(count);
  for (const TokenId token : changes.excluded) {
    at(token) = -std::numeric_limits<float>::infinity();
  }
  if (filter_.has_value()) filter_->Apply(logits, /*may_end=*/generated_ >= min_tokens_);
}

void LogitsProcessor::Advance(TokenId token) {
  ++generated_;
  if (filter_.has_value()) filter_->Advance(token);
  Remember(token);
  if (presence_ != 0 || frequency_ != 0) generated_counts_.Add(token);
}

// Moves the repetition penalty's window on.
void LogitsProcessor::Remember(TokenId token) {
  if (last_n_ == 0) return;
  window_counts_.Add(token);
  if (last_n_ < 0) return;
  window_.push_back(token);
  if (window_.size() <= static_cast<size_t>(last_n_)) return;
  window_counts_.Remove(window_.front());
  window_.pop_front();
}

}  // namespace baton
