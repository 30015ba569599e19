#include "engine/model/grammar/grammar_vocabulary.h"

#include <algorithm>
#include <utility>

#include "engine/model/grammar/automaton.h"
#include "engine/model/tokenizer.h"

namespace baton {

GrammarVocabulary::GrammarVocabulary(const Tokenizer& tokenizer) {
  std::vector<std::pair<std::string, TokenId>> short_tokens;
  std::vector<std::pair<std::string, TokenId>> long_tokens;
  ends_.reserve(static_cast<size_t>(tokenizer.vocabulary()));
  for (TokenId token = 0; token < tokenizer.vocabulary(); ++token) {
    std::string bytes;
    if (tokenizer.IsEndOfText(token)) {
      end_of_text_.push_back(token);
    } else {
      bytes = tokenizer.TokenBytes(token, /*first=*/false);
    }
    if (bytes.size() > kTokenBytesMax) {
      bytes.clear();
    }
    bytes_ += bytes;
    ends_.push_back(bytes_.size());
    if (!bytes.empty()) {
      (bytes.size() <= GrammarAutomaton::kClassBytes ? short_tokens : long_tokens)
          .emplace_back(std::move(bytes), token);
    }
  }
  short_tokens_ = TokenTrie(std::move(short_tokens));
  long_tokens_ = TokenTrie(std::move(long_tokens));
}

bool GrammarVocabulary::IsEndOfText(TokenId token) const {
  return std::binary_search(end_of_text_.begin(), end_of_text_.end(), token);
}

}  // namespace baton
