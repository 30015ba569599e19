#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/grammar/grammar.h"
#include "engine/model/grammar/readings.h"

namespace baton {

// Follows one generated text through a grammar, token by token. Tokens may begin and end inside a
// UTF-8 character. Each sequence has its own. Not thread safe; copies are independent, also of one
// another's threads, and cost two short arrays.
//
// The decode loop, with `mask` of Words(vocabulary) words; the prompt is not fed:
//
//   ASSIGN_OR_RETURN(GrammarMatcher matcher, GrammarMatcher::Make(grammar));
//   for (;;) {
//     ASSIGN_OR_RETURN(const int32_t allowed, matcher.Allowed(mask));
//     if (allowed == 0) break;            // the text is complete and nothing can follow
//     // Behind biases and penalties, logits of tokens whose bit is clear, and of those beyond the
//     // vocabulary, become -infinity. Where matcher.Finished(), only end-of-text tokens are left:
//     // min_tokens must not exclude these, too.
//     const TokenId token = sampler.Sample(logits);
//     RETURN_IF_ERROR(matcher.Advance(token));
//     if (tokenizer.IsEndOfText(token)) break;
//   }
//
// Guessed tokens: a copy advances over them, and a guess that it refuses is dropped with those
// behind it. The mask of each position is what Allowed says of the copy before that guess:
//
//   GrammarMatcher draft = matcher;
//   for (size_t i = 0; i < guesses.size() && draft.Advance(guesses[i]).ok(); ++i) {
//     masks[i + 1] = draft.Allowed(...);
//   }
//
// A text may be cut short by max_tokens: CanEnd() then says whether it is complete.
class GrammarMatcher {
 public:
  // Before the first token. RESOURCE_EXHAUSTED: as Allowed.
  static absl::StatusOr<GrammarMatcher> Make(std::shared_ptr<const Grammar> grammar);

  static size_t Words(int32_t vocabulary) { return (static_cast<size_t>(vocabulary) + 63) / 64; }

  // Sets the bits of the tokens that can come next, end-of-text tokens where the text may end, and
  // clears all others. mask: [Words(vocabulary)], token t is bit t % 64 of word t / 64. Returns
  // their number. 0: the text is complete, nothing can follow, and the vocabulary has no
  // end-of-text token, or has just had it.
  // RESOURCE_EXHAUSTED: the grammar is too ambiguous, or the text too deeply nested, see
  // GrammarStepper. FAILED_PRECONDITION: the text is not complete, but no token continues it.
  absl::StatusOr<int32_t> Allowed(std::span<uint64_t> mask) const;

  // Appends a token. INVALID_ARGUMENT: the grammar does not allow it; RESOURCE_EXHAUSTED: as
  // Allowed. The matcher is then as before.
  absl::Status Advance(TokenId token);
  // As Advance, bytes that need not be a token's. None: no change.
  absl::Status AdvanceBytes(std::string_view bytes);

  // Whether the text so far is complete.
  bool CanEnd() const { return can_end_; }
  // Whether no more bytes can follow: the grammar has no more, or an end-of-text token has come.
  bool Finished() const { return readings_.empty(); }

 private:
  explicit GrammarMatcher(std::shared_ptr<const Grammar> grammar) : grammar_(std::move(grammar)) {}

  std::shared_ptr<const Grammar> grammar_;
  std::vector<GrammarReading> readings_;
  GrammarStacks stacks_;
  bool can_end_ = false;
  bool end_of_text_ = false;  // such a token has come
};

}  // namespace baton
