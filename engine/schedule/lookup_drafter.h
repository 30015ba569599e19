#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// Guesses how a sequence goes on from where its last tokens stood before: in its prompt, in what it
// has generated, or in other texts that it is likely to quote (prompt lookup decoding: Saxena,
// 2023). The guesses are verified by the model, so wrong ones cost time and change nothing.
//
// It keeps account of how often it was right, whether or not its guesses were used, and gives as
// many as make the most tokens in a time: none while too few of them are right; then it looks only
// now and then whether it would be right again. Not thread safe.
class LookupDrafter {
 public:
  // `texts`: to look in beside the prompt. `draft_tokens_max`: longest guess; 0: never any.
  LookupDrafter(std::span<const TokenId> prompt, std::span<const std::vector<TokenId>> texts,
                int32_t draft_tokens_max);

  // The sequence went on with these tokens, at least one; scores the last guess.
  void Append(std::span<const TokenId> tokens);
  // What may follow; empty where nothing like the last tokens was seen or guessing does not pay.
  // `token_cost`: what each token of it makes a step take longer, as a share of a step without any.
  // Looks through up to 32,768 tokens: not worth calling where the guess would not be used.
  std::vector<TokenId> Draft(double token_cost);
  // False: guesses have not paid lately, and Draft gives none.
  bool pays() const;

 private:
  // What stood where: the last tokens before, and how much that tells of what follows.
  struct Place {
    ptrdiff_t end;  // of history_, behind what matched
    bool weak;      // a single token, that stood in many places
  };
  std::optional<Place> LastMatch() const;
  // How long a guess makes the most tokens in a time; 0: none makes more than no guess.
  int32_t BestLength(bool weak) const;
  void Score(std::span<const TokenId> tokens);

  const int32_t draft_tokens_max_;
  std::vector<TokenId> history_;  // texts, each behind a separator, then the sequence
  std::vector<TokenId> guess_;    // of the last Draft, given or not
  bool guess_is_weak_ = false;
  int unpaid_drafts_ = 0;  // calls of Draft since guessing has stopped to pay
  double token_cost_;
  // Moving shares of guesses whose first token was right, and of their further tokens that were
  // where those before them were.
  double right_;
  double weak_right_;
  double next_right_;
};

}  // namespace baton
