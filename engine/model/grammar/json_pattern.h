#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

// GBNF for the inside of a JSON string that a schema's `pattern` matches, without its quotes. The
// pattern's characters stand for themselves or, where JSON asks for it, escaped in the shortest
// way.
//
// Of ECMA-262's regular expressions: characters, escapes \n \r \t \f \v \0 \xHH \uHHHH \u{H...},
// \d \w \s \D \W \S, ., classes, groups (named ones too), |, * + ? {m} {m,} {m,n} (lazy or not), ^
// at the start and $ at the end of the pattern or of its outermost alternatives. What is not
// anchored may stand anywhere in the string. char_rule: the name of a rule for any one character.
// INVALID_ARGUMENT: names what is not supported (assertions, back references, \b, \p) or wrong, and
// where, counted in bytes from 1.
absl::StatusOr<std::string> JsonPatternToGbnf(std::string_view pattern, std::string_view char_rule);

}  // namespace baton
