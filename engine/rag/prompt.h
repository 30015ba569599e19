#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/chat/chat_templates.h"
#include "engine/model/tokenizer.h"

namespace baton {

struct PromptPassage {
  std::string_view title;  // may be empty
  std::string_view text;
};

struct BuiltPrompt {
  std::vector<TokenId> tokens;  // ready for prefill, bos included where the model wants it
  int passages_used = 0;        // the first of those given, numbered from [1]
  bool cut = false;             // the only one is not all there
};

// How a prompt's text becomes tokens; the model's chat template puts it into a user's message.
class PromptEncoder {
 public:
  // As text, with bos where the model wants it.
  explicit PromptEncoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}
  // As the only message of a conversation. `now_s`: seconds since 1970, for templates that write
  // the date.
  PromptEncoder(const Tokenizer& tokenizer, const ChatTemplates& templates, int64_t now_s)
      : tokenizer_(tokenizer), templates_(&templates), now_s_(now_s) {}

  bool chats() const { return templates_ != nullptr; }
  // INVALID_ARGUMENT: the template fails on the message.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string text) const;

 private:
  const Tokenizer& tokenizer_;
  const ChatTemplates* templates_ = nullptr;
  int64_t now_s_ = 0;
};

// The prompt of an Ask, in at most `token_budget` tokens: a fixed head (the same tokens for every
// question, so that a prefix cache can hold it), the passages, the question. Where that is too
// long, the last passages go first, then the only one left is cut at a sentence's end (failing that
// at a word's), then the head goes, then the passages altogether. INVALID_ARGUMENT: not even the
// bare question fits; the message names the budget and the question's tokens. Or as of the encoder.
absl::StatusOr<BuiltPrompt> BuildPrompt(const PromptEncoder& encoder, std::string_view question,
                                        std::span<const PromptPassage> passages,
                                        int32_t token_budget);

}  // namespace baton
