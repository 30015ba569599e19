#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/model/grammar/automaton.h"
#include "engine/model/grammar/grammar_vocabulary.h"
#include "engine/model/grammar/limits.h"
#include "engine/model/grammar/masks.h"

namespace baton {

// What a generated text must look like, ready for one tokenizer. Immutable but for masks that are
// made as they are needed; thread safe, and meant to be shared by all sequences that ask for the
// same text of a grammar: making one takes milliseconds, and the first mask of each state where
// most tokens are allowed some more.
//
// A JSON schema is one too: FromGbnf(*JsonSchemaToGbnf(schema), ...), see json_schema.h.
class Grammar {
 public:
  static constexpr size_t kMasksBytesMax = size_t{64} << 20;

  // `text`: GBNF, as gbnf_parser.h describes it. INVALID_ARGUMENT: what is wrong with it and where,
  // a limit it exceeds, a left recursion, or that it matches no text.
  static absl::StatusOr<std::shared_ptr<const Grammar>> FromGbnf(
      std::string_view text, std::shared_ptr<const GrammarVocabulary> vocabulary,
      const GrammarLimits& limits = {}, size_t masks_bytes_max = kMasksBytesMax);

  const GrammarVocabulary& vocabulary() const { return *vocabulary_; }
  const GrammarAutomaton& automaton() const { return automaton_; }
  const GrammarMasks& masks() const { return masks_; }
  // What it takes now, with its masks and without the vocabulary.
  size_t bytes() const;

  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

 private:
  Grammar(GrammarAutomaton automaton, std::shared_ptr<const GrammarVocabulary> vocabulary,
          size_t masks_bytes_max);

  const GrammarAutomaton automaton_;
  const std::shared_ptr<const GrammarVocabulary> vocabulary_;
  const GrammarMasks masks_;  // of the two above
};

}  // namespace baton
