#pragma once

#include <span>
#include <string>
#include <string_view>

#include "engine/request/rag_request.h"

namespace baton {

// A grammar (GBNF) of the answers that are one of the quotes, word for word, and behind it the
// number of its passage as in " [1]", or the refusal that the prompt asks for; before either
// perhaps a space.
std::string VerbatimGrammar(std::span<const Citation> quotes);

// Which of the quotes such an answer is; null: none, it refuses or was cut short.
const Citation* FindVerbatim(std::span<const Citation> quotes, std::string_view answer);

}  // namespace baton
