#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// Guesses how a sequence goes on from where its last tokens stood before: in its prompt, in what it
// has generated, or in other texts that it is likely to quote (prompt lookup decoding: Saxena,
// 2023). The guesses are verified by the model, so wrong ones cost time and change nothing.
//
// It keeps account of how often it was right, whether or not its guesses were used, and gives none
// while too few of them are; then it looks only now and then whether it would be right again. Not
// thread safe.
class LookupDrafter {
 public:
  // `texts`: to look in beside the prompt. `draft_tokens_max`: longest guess; 0: never any.
  LookupDrafter(std::span<const TokenId> prompt, std::span<const std::vector<TokenId>> texts,
                int32_t draft_tokens_max);

  // The sequence went on with these tokens, at least one; scores the last guess.
  void Append(std::span<const TokenId> tokens);
  // What may follow; empty where nothing like the last tokens was seen or guessing does not pay.
  // Looks through up to 32,768 tokens: not worth calling where the guess would not be used.
  std::vector<TokenId> Draft();
  // False: guesses have not paid lately, and Draft gives none.
  bool pays() const;

 private:
  std::vector<TokenId> Guess() const;

  const int32_t draft_tokens_max_;
  std::vector<TokenId> history_;  // texts, each behind a separator, then the sequence
  std::vector<TokenId> guess_;    // of the last Draft, given or not
  bool given_ = false;
  int unpaid_drafts_ = 0;  // calls of Draft since guessing has stopped to pay
  int32_t length_;         // of the next guess: grows while guesses are right to their end
  double right_;           // moving share of guesses whose first token was right
};

}  // namespace baton
