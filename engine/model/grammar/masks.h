#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/model/grammar/automaton.h"
#include "engine/model/grammar/grammar_vocabulary.h"
#include "engine/model/grammar/readings.h"

namespace baton {

// Which tokens a grammar allows. What does not depend on the open calls is worked out once for each
// class of states and kept: the tokens that stay within the state's rule or what it calls, and the
// places in the vocabulary's tree where the rule ends within a token. Only from those places on are
// tokens tried again with the calls that are open. (After the division into context-independent and
// context-dependent tokens of Dong et al., XGrammar, 2024.) Where that would be many, as in a
// rule for one character of many, the calls that are open last are made part of what is kept.
//
// Thread safe. Masks are made under no lock; two threads may make the same one, and one is kept.
class GrammarMasks {
 public:
  // masks_bytes_max: of what is kept; when it is reached, all is made anew.
  GrammarMasks(const GrammarAutomaton& automaton, const GrammarVocabulary& vocabulary,
               size_t masks_bytes_max);
  ~GrammarMasks();

  // Sets the bits of the tokens that can follow. readings: of GrammarStepper, on `stacks`.
  // mask: [(vocabulary + 63) / 64], token t is bit t % 64 of word t / 64; tokens that end a text
  // and those without bytes are never set. RESOURCE_EXHAUSTED: a limit of GrammarStepper.
  absl::Status Allowed(std::span<const GrammarReading> readings, const GrammarStacks& stacks,
                       std::span<uint64_t> mask) const;

  // The readings after `bytes`, none if the grammar does not allow them; only those that read on.
  // `ended`: whether the text may end behind them. Neither may be empty: bytes are one at least.
  absl::Status Advance(std::span<const char> bytes, std::vector<GrammarReading>& readings,
                       GrammarStacks& stacks, bool& ended) const;
  // The readings of an empty text.
  absl::Status Start(std::vector<GrammarReading>& readings, GrammarStacks& stacks,
                     bool& ended) const;

  size_t masks_bytes() const;  // kept now

 private:
  struct Mask;     // of a context
  struct Scratch;  // of one call
  class ScratchLease;

  // The mask of a reading's state and the calls that are open last, and the stack below those.
  struct Known {
    std::shared_ptr<const Mask> mask;
    uint32_t stack;
  };
  // Classes of a state and of those to which the last open calls return, the last one first.
  using Context = std::vector<uint32_t>;
  static constexpr size_t kContextMax = 6;
  static constexpr size_t kOpenTokensMax = 2048;  // that a step may have to try, some 100 us

  absl::StatusOr<Known> Find(GrammarReading reading, const GrammarStacks& stacks,
                             Scratch& scratch) const;
  // states: one of each class of `context`.
  absl::StatusOr<std::shared_ptr<const Mask>> FindOrMake(const Context& context,
                                                         const std::vector<uint32_t>& states,
                                                         Scratch& scratch) const;
  absl::StatusOr<std::shared_ptr<const Mask>> Make(const std::vector<uint32_t>& states,
                                                   Scratch& scratch) const;

  const GrammarAutomaton& automaton_;
  const GrammarVocabulary& vocabulary_;
  const size_t masks_bytes_max_;

  mutable std::mutex mutex_;  // of all below
  mutable absl::flat_hash_map<Context, std::shared_ptr<const Mask>> masks_;
  mutable size_t masks_bytes_ = 0;
  mutable std::vector<std::unique_ptr<Scratch>> idle_;  // one for each thread at most
};

}  // namespace baton
