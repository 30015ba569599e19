#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace baton {

struct BertNormalisation {
  bool lowercase = true;
  bool strip_accents = true;
};

// The words that a BERT vocabulary's pieces are looked for in, UTF-8: control characters, U+FFFD
// and bytes that are no UTF-8 dropped; decomposed canonically (NFD) and without the accents that
// leaves, where they are stripped; in lower case, character by character, where wanted; split at
// white space; each punctuation mark, ASCII symbol and CJK ideograph a word of its own. As in the
// tokenizer that came with BERT (Devlin et al., 2018). O(n log n). No word is empty.
std::vector<std::string> SplitBertWords(std::string_view text, const BertNormalisation& how);

}  // namespace baton
