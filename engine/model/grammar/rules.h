#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "engine/model/grammar/code_point_ranges.h"

namespace baton {

inline constexpr uint32_t kUnboundedRepeat = std::numeric_limits<uint32_t>::max();

// The right side of a grammar's rule, as a tree.
struct GrammarExpr {
  enum class Kind {
    kLiteral,       // `literal`
    kClass,         // one character of `ranges`
    kRule,          // what rule number `rule` matches
    kSequence,      // all of `parts`, in order
    kAlternatives,  // one of `parts`
    kRepeat,        // parts[0], from repeat_min to repeat_max times
  };
  Kind kind = Kind::kSequence;
  std::string literal;     // UTF-8
  CodePointRanges ranges;  // sorted, disjoint, without surrogates; empty: no match
  uint32_t rule = 0;
  uint32_t repeat_min = 0;
  uint32_t repeat_max = 0;  // or kUnboundedRepeat
  std::vector<GrammarExpr> parts;
};

struct GrammarRule {
  std::string name;
  GrammarExpr body;
};

// A grammar as written: every rule that is named is defined.
struct GrammarRules {
  std::vector<GrammarRule> rules;
  uint32_t root = 0;
};

}  // namespace baton
