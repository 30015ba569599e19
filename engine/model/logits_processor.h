#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/model/grammar/filter.h"
#include "engine/model/logit_changes.h"
#include "engine/model/token_counts.h"
#include "engine/request/generate_request.h"

namespace baton {

// What the choice of a sequence's tokens starts from.
struct SamplerSetup {
  SamplingParams params = {};  // its seed set; token ids within the vocabulary
  // What stands before: the prompt, of which RepetitionWindow's last tokens will do, and tokens
  // that were chosen elsewhere.
  std::vector<TokenId> prompt = {};
  std::vector<TokenId> generated = {};
  // Among the first `min_tokens` generated tokens are none of `ends`, which end the text.
  int32_t min_tokens = 0;
  std::vector<TokenId> ends = {};
  // What the text must match; null: anything. `ends` that spell nothing are then chosen where the
  // text may end, and where nothing else can follow, min_tokens gives way.
  std::shared_ptr<const Grammar> grammar = {};
};

// The part of a prompt that a sampler with these settings looks at.
std::span<const TokenId> RepetitionWindow(const SamplingParams& params,
                                          std::span<const TokenId> prompt);

// The one place where a sequence's logits are changed before a token is chosen: bias, repetition
// penalty (Keskar et al., 2019), presence and frequency penalty, then tokens that are excluded: by
// min_tokens, or because they cannot continue a text of the grammar. It depends on nothing but its
// setup and the tokens it was advanced by. A copy goes on by itself, so that guesses can be tried
// on one. Not thread safe; one per sequence.
class LogitsProcessor {
 public:
  explicit LogitsProcessor(const SamplerSetup& setup);

  // Whether Apply would change anything.
  bool active() const { return changes_ || filter_.has_value() || Excludes(); }
  // logits: [vocabulary], f32, those that follow on the tokens so far; -inf excludes a token.
  void Apply(std::span<float> logits) const;
  // The same as lists, for devices that choose tokens; absent under a grammar, whose tokens are
  // found one by one.
  std::optional<LogitChanges> changes() const;
  // The sequence goes on with `token`.
  void Advance(TokenId token);

  // Whether the grammar lets nothing follow on the tokens so far: the text has come to its end.
  bool complete() const { return filter_.has_value() && filter_->complete(); }
  // See GrammarFilter: the text cannot go on under its grammar.
  absl::Status status() const { return filter_.has_value() ? filter_->status() : absl::OkStatus(); }

 private:
  bool Excludes() const { return generated_ < min_tokens_ && !ends_.empty(); }
  LogitChanges ChangesByTokens() const;
  void Remember(TokenId token);

  std::vector<std::pair<TokenId, float>> bias_;
  float repetition_;
  int32_t last_n_;  // 0: the repetition penalty is off
  float presence_;
  float frequency_;
  int32_t min_tokens_;
  std::vector<TokenId> ends_;
  bool changes_;  // beside excluding
  std::optional<GrammarFilter> filter_;

  int64_t generated_ = 0;
  std::deque<TokenId> window_;    // the last_n_ last tokens
  TokenCounts window_counts_;     // of window_; all tokens' at -1
  TokenCounts generated_counts_;  // where presence or frequency count
};

}  // namespace baton
