#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/model/grammar/limits.h"
#include "engine/model/grammar/rules.h"

namespace baton {

using ByteSet = std::bitset<256>;

// A text's bytes lead from state to state of one rule; a call enters another rule's first state and
// comes back when that rule has ended.
struct GrammarState {
  uint32_t bytes_begin = 0;  // edges, of GrammarAutomaton::byte_edges
  uint32_t bytes_end = 0;
  uint32_t calls_begin = 0;  // of GrammarAutomaton::calls
  uint32_t calls_end = 0;
  uint32_t rule = 0;
  // States of one class allow the same tokens of at most kClassBytes bytes, and end their rule
  // after the same of them.
  uint32_t mask_class = 0;
  bool ends = false;   // the rule may end here
  bool plain = false;  // neither ends nor calls
};

struct ByteEdge {
  uint8_t low;
  uint8_t high;
  uint32_t to;
};

struct GrammarCall {
  static constexpr uint32_t kTail = std::numeric_limits<uint32_t>::max();
  uint32_t rule;
  uint32_t entry;      // first state of the rule
  uint32_t return_to;  // kTail: the calling rule ends with the called one
};

// A grammar over bytes as one finite automaton a rule, with calls between them. Each state can
// reach the end of its rule. Immutable after CompileGrammar.
struct GrammarAutomaton {
  // Nearly all tokens of a vocabulary are shorter; longer runs of blanks and the like are not.
  static constexpr size_t kClassBytes = 64;

  std::vector<GrammarState> states;
  std::vector<ByteEdge> byte_edges;  // of a state: by `low`; they overlap where a rule was too
                                     // large to be made deterministic
  std::vector<GrammarCall> calls;
  std::vector<ByteSet> follow;  // [rules] bytes that can come behind the rule
  uint32_t root = 0;            // first state

  std::span<const ByteEdge> Bytes(const GrammarState& state) const {
    return {byte_edges.data() + state.bytes_begin, byte_edges.data() + state.bytes_end};
  }
  std::span<const GrammarCall> Calls(const GrammarState& state) const {
    return {calls.data() + state.calls_begin, calls.data() + state.calls_end};
  }
};

// INVALID_ARGUMENT: what AnalyseGrammar says, or more states or edges than `limits` allow.
absl::StatusOr<GrammarAutomaton> CompileGrammar(const GrammarRules& rules,
                                                const GrammarLimits& limits);

// Fills in GrammarState's plain and mask_class and GrammarAutomaton's follow, from the rest. Part
// of CompileGrammar. nullable: [rules]
void CompleteAutomaton(const std::vector<bool>& nullable, GrammarAutomaton& automaton);

}  // namespace baton
