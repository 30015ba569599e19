#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace baton {

// A word as search sees it.
struct TextWord {
  std::string surface;  // lower case, accents of Latin letters dropped
  std::string stem;     // `surface` without its English ending: equal for words that should match
  float weight = 1;     // how much the word tells: 1 for rare words, near 0 for "the"
};

// The words of `text` in order: runs of letters and digits. Apostrophes are dropped ("don't" is
// "dont") and so is a possessive 's; "1,200" is "1200" and "3.5" one word. A CJK character is a
// word by itself. Depends on nothing but the text: no locale, no tables that grow.
std::vector<TextWord> SplitWords(std::string_view text);

}  // namespace baton
