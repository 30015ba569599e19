#pragma once

#include <string_view>

#include "engine/rag/sentences.h"

namespace baton {

// The sentence of `passage` that shares most of the question's weighted words, as bytes of the
// passage; a word counts by its weight, divided among the sentences that hold it. The first of
// equals; a heading only where there is nothing else; the whole passage where it has no sentence.
TextRange FindQuote(std::string_view question, std::string_view passage);

}  // namespace baton
