#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "engine/rag/sentences.h"

namespace baton {

// The `count` sentences of `passage` that share most of the question's weighted words, as bytes of
// the passage, in its order; all of them where there are fewer. Headings only where there is
// nothing else; none where it has no sentence.
std::vector<TextRange> BestSentences(std::string_view question, std::string_view passage,
                                     size_t count);

// Their text, a space between them; the whole passage where it has no sentence.
std::string Focus(std::string_view question, std::string_view passage, size_t count);

// The best one; the whole passage where it has no sentence.
TextRange FindQuote(std::string_view question, std::string_view passage);

}  // namespace baton
