#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"
#include "engine/model/grammar/matcher.h"

namespace baton {

// Keeps one sequence's choices to a grammar. Its state moves only by tokens that were chosen. Not
// thread safe; a copy goes on by itself.
class GrammarFilter {
 public:
  // `ends`: the tokens that end the text, the model's own end-of-text among them unless it is
  // ignored. Those that spell nothing are allowed where the text may end; those that spell
  // something are text like any other.
  GrammarFilter(std::shared_ptr<const Grammar> grammar, const std::vector<TokenId>& ends);

  // Excludes (-infinity) the tokens that cannot come next. may_end: whether `ends` are allowed at
  // all; where the grammar leaves nothing but them, they are. Changes nothing where the text is
  // complete or status() is an error: what is chosen then does not count.
  // logits: [vocabulary], f32
  void Apply(std::span<float> logits, bool may_end) const;
  // The sequence goes on with `token`, one that Apply left.
  void Advance(TokenId token);

  // Whether nothing but the end can follow.
  bool complete() const { return complete_; }
  // INVALID_ARGUMENT: the text so far cannot go on: the grammar is too ambiguous or nested too
  // deeply (see GrammarStepper), or no token of the vocabulary spells what it wants.
  const absl::Status& status() const { return status_; }

 private:
  bool IsAllowed(TokenId token) const;
  // What can come next.
  void Update();

  std::shared_ptr<const Grammar> grammar_;
  absl::StatusOr<GrammarMatcher> matcher_;
  std::vector<TokenId> silent_ends_;    // those that spell nothing
  std::vector<TokenId> spelling_ends_;  // the others
  std::vector<uint64_t> allowed_;       // tokens that spell what comes next, bit by bit
  int32_t allowed_count_ = 0;
  bool complete_ = false;
  absl::Status status_;
};

}  // namespace baton
