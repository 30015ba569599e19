#pragma once

#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "engine/base/ids.h"
#include "engine/model/chat/chat_templates.h"
#include "engine/model/vocabulary.h"

namespace baton {

// Cuts a rendered chat into markup and text. Markup are control tokens, user-defined tokens that
// are spelled <|like this|> or end a text, and user-defined tokens that the template's source
// spells. They are found only where the template wrote every byte of them; a request that spells
// them in a message's content, name or tools gets text. Immutable and thread safe.
class ChatEncoder {
 public:
  // `strips`: white space behind control tokens is theirs, but for bos and <|endoftext|>, as
  // phi-3's tokenizer has it.
  ChatEncoder(const Vocabulary& words, bool strips);

  // Appends the tokens of a text between markup, in which those of `markup` are only text.
  using EncodeText = absl::FunctionRef<void(std::string_view text, const TokenSet& markup,
                                            std::vector<TokenId>& tokens)>;
  std::vector<TokenId> Encode(const RenderedChat& chat, EncodeText encode_text) const;

 private:
  TokenSet MarkupOf(std::string_view template_source) const;

  const Vocabulary& words_;
  const TokenMatcher special_;  // control, unknown and user-defined tokens
  const TokenMatcher user_;     // user-defined tokens
  TokenSet always_markup_;
  const bool strips_;
};

}  // namespace baton
