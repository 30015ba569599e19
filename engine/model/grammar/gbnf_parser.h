#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/grammar/limits.h"
#include "engine/model/grammar/rules.h"

namespace baton {

// Reads GBNF, llama.cpp's notation for grammars:
//
//   name ::= "literal" [a-z0-9] [^"\\] . other (group | alternative) x* x+ x? x{2} x{2,} x{2,5}
//   # a comment, to the end of the line
//
// A rule ends with its line, except inside a group, behind ::= and |, and before a line that starts
// with |. Escapes in literals and classes: \n \r \t \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH. The
// rule called root is what a text must match.
//
// INVALID_ARGUMENT: says the line and column, both from 1, columns in characters; what was expected
// and what stands there. Names a rule that is not defined, or defined twice, and each limit.
absl::StatusOr<GrammarRules> ParseGbnf(std::string_view text, const GrammarLimits& limits);

}  // namespace baton
