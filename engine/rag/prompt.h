#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/tokenizer.h"

namespace baton {

struct PromptPassage {
  std::string_view title;  // may be empty
  std::string_view text;
};

struct BuiltPrompt {
  std::vector<TokenId> tokens;  // ready for prefill, bos included where the model wants it
  int passages_used = 0;        // the first of those given, numbered from [1]
};

// The prompt of an Ask, in at most `token_budget` tokens: a fixed head (the same tokens for every
// question, so that a prefix cache can hold it), the passages, the question. Where that is too
// long, the last passages go first, then the only one left is cut at a sentence's end (failing that
// at a word's), then the head goes, then the passages altogether. INVALID_ARGUMENT: not even the
// bare question fits; the message names the budget and the question's tokens.
absl::StatusOr<BuiltPrompt> BuildPrompt(const Tokenizer& tokenizer, std::string_view question,
                                        std::span<const PromptPassage> passages,
                                        int32_t token_budget);

}  // namespace baton
