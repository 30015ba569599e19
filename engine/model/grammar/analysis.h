#pragma once

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/grammar/limits.h"
#include "engine/model/grammar/rules.h"

namespace baton {

// What must be known of a grammar's rules before an automaton is made of them; one entry a rule.
struct GrammarAnalysis {
  std::vector<bool> nullable;    // matches the empty text
  std::vector<bool> productive;  // matches some text
  std::vector<bool> inlined;     // so small that it stands where it is used; no rule in itself
  std::vector<size_t> nodes;     // of the automaton before it is made deterministic, estimated
};

// INVALID_ARGUMENT: names the rules of a left recursion, one after another; or the root where it
// matches no text at all.
absl::StatusOr<GrammarAnalysis> AnalyseGrammar(const GrammarRules& rules);

// Whether `expr` matches the empty text.
bool IsNullable(const GrammarExpr& expr, const std::vector<bool>& nullable_rules);

// Whether `expr` matches any text.
bool IsProductive(const GrammarExpr& expr, const std::vector<bool>& productive_rules);

// Nodes that `expr` takes, at most 2^30; a repetition is written out unless it IsHoisted.
size_t NodeCount(const GrammarExpr& expr, const GrammarAnalysis& analysis);

// Whether what `repeat` repeats becomes a rule of its own: many copies of something large.
bool IsHoisted(const GrammarExpr& repeat, const GrammarAnalysis& analysis);

}  // namespace baton
