#include "engine/model/grammar/grammar.h"

#include <utility>

#include "engine/base/status_macros.h"
#include "engine/model/grammar/gbnf_parser.h"

namespace baton {

Grammar::Grammar(GrammarAutomaton automaton, std::shared_ptr<const GrammarVocabulary> vocabulary,
                 size_t masks_bytes_max)
    : automaton_(std::move(automaton)),
      vocabulary_(std::move(vocabulary)),
      masks_(automaton_, *vocabulary_, masks_bytes_max) {}

absl::StatusOr<std::shared_ptr<const Grammar>> Grammar::FromGbnf(
    std::string_view text, std::shared_ptr<const GrammarVocabulary> vocabulary,
    const GrammarLimits& limits, size_t masks_bytes_max) {
  ASSIGN_OR_RETURN(const GrammarRules rules, ParseGbnf(text, limits));
  ASSIGN_OR_RETURN(GrammarAutomaton automaton, CompileGrammar(rules, limits));
  return std::shared_ptr<const Grammar>(
      new Grammar(std::move(automaton), std::move(vocabulary), masks_bytes_max));
}

size_t Grammar::bytes() const {
  return automaton_.states.size() * sizeof(GrammarState) +
         automaton_.byte_edges.size() * sizeof(ByteEdge) +
         automaton_.calls.size() * sizeof(GrammarCall) +
         automaton_.follow.size() * sizeof(ByteSet) + masks_.masks_bytes();
}

}  // namespace baton
