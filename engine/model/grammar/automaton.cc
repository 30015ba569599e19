#include "engine/model/grammar/automaton.h"

#include <utility>

#include "absl/container/flat_hash_map.h"

namespace baton {
namespace {

using StateLists = std::vector<std::vector<uint32_t>>;

// Which states reach the end of their rule without a byte.
std::vector<bool> EndingStates(const GrammarAutomaton& automaton,
                               const std::vector<bool>& nullable) {
  std::vector<bool> ending(automaton.states.size(), false);
  StateLists before(automaton.states.size());  // by calls that may match nothing
  std::vector<uint32_t> to_do;
  for (uint32_t i = 0; i < automaton.states.size(); ++i) {
    bool ends = automaton.states[i].ends;
    for (const GrammarCall& call : automaton.Calls(automaton.states[i])) {
      if (nullable[call.rule]) {
        if (call.return_to == GrammarCall::kTail) {
          ends = true;
        } else {
          before[call.return_to].push_back(i);
        }
      }
    }
    if (ends) {
      to_do.push_back(i);
    }
  }
  while (!to_do.empty()) {
    const uint32_t state = to_do.back();
    to_do.pop_back();
    if (!ending[state]) {
      ending[state] = true;
      to_do.insert(to_do.end(), before[state].begin(), before[state].end());
    }
  }
  return ending;
}

// The bytes that can come next in each state, of its own rule and those it calls.
std::vector<ByteSet> FirstBytes(const GrammarAutomaton& automaton,
                                const std::vector<bool>& nullable) {
  std::vector<ByteSet> first(automaton.states.size());
  StateLists readers(automaton.states.size());  // whose first bytes hold those of the state
  std::vector<uint32_t> to_do;
  for (uint32_t i = 0; i < automaton.states.size(); ++i) {
    for (const ByteEdge& edge : automaton.Bytes(automaton.states[i])) {
      for (int byte = edge.low; byte <= edge.high; ++byte) {
        first[i].set(static_cast<size_t>(byte));
      }
    }
    for (const GrammarCall& call : automaton.Calls(automaton.states[i])) {
      readers[call.entry].push_back(i);
      if (nullable[call.rule] && call.return_to != GrammarCall::kTail) {
        readers[call.return_to].push_back(i);
      }
    }
    to_do.push_back(i);
  }
  while (!to_do.empty()) {
    const uint32_t state = to_do.back();
    to_do.pop_back();
    for (const uint32_t reader : readers[state]) {
      const ByteSet all = first[reader] | first[state];
      if (all != first[reader]) {
        first[reader] = all;
        to_do.push_back(reader);
      }
    }
  }
  return first;
}

void SetFollow(const std::vector<bool>& nullable, GrammarAutomaton& automaton) {
  const std::vector<bool> ending = EndingStates(automaton, nullable);
  const std::vector<ByteSet> first = FirstBytes(automaton, nullable);
  automaton.follow.assign(nullable.size(), {});
  StateLists last_calls(nullable.size());  // rules that a rule may end with
  for (const GrammarState& state : automaton.states) {
    for (const GrammarCall& call : automaton.Calls(state)) {
      const bool tail = call.return_to == GrammarCall::kTail;
      if (!tail) {
        automaton.follow[call.rule] |= first[call.return_to];
      }
      if (tail || ending[call.return_to]) {
        last_calls[state.rule].push_back(call.rule);
      }
    }
  }
  std::vector<uint32_t> to_do;
  for (uint32_t rule = 0; rule < nullable.size(); ++rule) {
    to_do.push_back(rule);
  }
  while (!to_do.empty()) {
    const uint32_t rule = to_do.back();
    to_do.pop_back();
    for (const uint32_t called : last_calls[rule]) {
      const ByteSet all = automaton.follow[called] | automaton.follow[rule];
      if (all != automaton.follow[called]) {
        automaton.follow[called] = all;
        to_do.push_back(called);
      }
    }
  }
}

// Moore's refinement, stopped after kClassBytes rounds: two states of a class after n rounds cannot
// be told apart by n bytes. A call that can match nothing does not count as one, so what such a
// call returns to must be the same state.
void SetMaskClasses(const std::vector<bool>& nullable, GrammarAutomaton& automaton) {
  std::vector<uint32_t> classes(automaton.states.size(), 0);
  size_t class_count = 1;
  std::vector<uint32_t> key;
  for (size_t round = 0; round <= GrammarAutomaton::kClassBytes; ++round) {
    absl::flat_hash_map<std::vector<uint32_t>, uint32_t> numbers;
    std::vector<uint32_t> refined(classes.size());
    for (size_t i = 0; i < classes.size(); ++i) {
      const GrammarState& state = automaton.states[i];
      key = {state.rule, state.ends ? 1u : 0u};
      // Round 0 tells the states' rules and ends apart, the others what they lead to.
      if (round > 0) {
        for (const ByteEdge& edge : automaton.Bytes(state)) {
          key.push_back(edge.low * 256u + edge.high);
          key.push_back(classes[edge.to]);
        }
        for (const GrammarCall& call : automaton.Calls(state)) {
          const bool exact = call.return_to == GrammarCall::kTail || nullable[call.rule];
          key.push_back(65'536u + (exact ? 1u : 0u));  // no pair of bytes
          key.push_back(call.rule);
          key.push_back(exact ? call.return_to : classes[call.return_to]);
        }
      }
      refined[i] = numbers.try_emplace(key, static_cast<uint32_t>(numbers.size())).first->second;
    }
    classes = std::move(refined);
    if (round > 0 && numbers.size() == class_count) {
      break;
    }
    class_count = numbers.size();
  }
  for (size_t i = 0; i < classes.size(); ++i) {
    automaton.states[i].mask_class = classes[i];
  }
}

}  // namespace

void CompleteAutomaton(const std::vector<bool>& nullable, GrammarAutomaton& automaton) {
  for (GrammarState& state : automaton.states) {
    state.plain = !state.ends && state.calls_begin == state.calls_end;
  }
  SetFollow(nullable, automaton);
  SetMaskClasses(nullable, automaton);
}

}  // namespace baton
