// Grammar rules to automata: each rule's expression becomes a nondeterministic automaton over bytes
// (Thompson), which is then made deterministic (subset construction) with calls as further symbols.

#include <algorithm>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/model/grammar/analysis.h"
#include "engine/model/grammar/automaton.h"
#include "engine/model/grammar/utf8_ranges.h"

namespace baton {
namespace {

using Kind = GrammarExpr::Kind;

// One rule's nondeterministic automaton, built from its end to its start.
class NodeGraph {
 public:
  enum class NodeKind : uint8_t { kEnd, kFail, kByte, kCall, kSplit };
  struct Node {
    NodeKind kind;
    uint8_t low = 0;
    uint8_t high = 0;
    uint32_t rule = 0;
    uint32_t next = 0;
    uint32_t other = 0;  // of kSplit
  };
  static constexpr uint32_t kEndNode = 0;
  static constexpr uint32_t kFailNode = 1;

  explicit NodeGraph(size_t nodes_max) : nodes_max_(nodes_max) { Clear(); }
  void Clear() { nodes_ = {{.kind = NodeKind::kEnd}, {.kind = NodeKind::kFail}}; }

  const Node& operator[](uint32_t node) const { return nodes_[node]; }
  size_t size() const { return nodes_.size(); }
  bool full() const { return nodes_.size() > nodes_max_; }

  uint32_t Byte(uint8_t low, uint8_t high, uint32_t next) {
    return Add({.kind = NodeKind::kByte, .low = low, .high = high, .next = next});
  }
  uint32_t Call(uint32_t rule, uint32_t next) {
    return Add({.kind = NodeKind::kCall, .rule = rule, .next = next});
  }
  uint32_t Split(uint32_t next, uint32_t other) {
    return Add({.kind = NodeKind::kSplit, .next = next, .other = other});
  }
  // Of a Split made before its way back was known.
  void SetNext(uint32_t split, uint32_t next) { nodes_[split].next = next; }

  uint32_t Literal(const std::string& bytes, uint32_t next) {
    for (auto byte = bytes.rbegin(); byte != bytes.rend(); ++byte) {
      next = Byte(static_cast<uint8_t>(*byte), static_cast<uint8_t>(*byte), next);
    }
    return next;
  }

  // Characters share what their last bytes have in common.
  uint32_t Class(const std::vector<CodePointRange>& ranges, uint32_t next) {
    std::vector<Utf8Range> forms;
    for (const CodePointRange& range : ranges) {
      AppendUtf8Ranges(range, forms);
    }
    absl::flat_hash_map<std::pair<uint32_t, uint32_t>, uint32_t> tails;  // (bytes, next)
    uint32_t entry = kFailNode;
    for (const Utf8Range& form : forms) {
      uint32_t node = next;
      for (int32_t i = form.bytes - 1; i >= 0; --i) {
        const auto [tail, inserted] =
            tails.try_emplace({form.low[i] * 256u + form.high[i], node}, 0);
        if (inserted) {
          tail->second = Byte(form.low[i], form.high[i], node);
        }
        node = tail->second;
      }
      entry = entry == kFailNode ? node : Split(entry, node);
    }
    return entry;
  }

 private:
  uint32_t Add(Node node) {
    nodes_.push_back(node);
    return static_cast<uint32_t>(nodes_.size() - 1);
  }

  const size_t nodes_max_;
  std::vector<Node> nodes_;
};

// The nodes that a state of the deterministic automaton stands for: bytes, calls and the end.
class NodeSets {
 public:
  explicit NodeSets(const NodeGraph& graph) : graph_(graph), marks_(graph.size(), 0) {}

  // What is reached from `nodes` without a byte or call; sorted.
  const std::vector<uint32_t>& Closure(const std::vector<uint32_t>& nodes) {
    ++mark_;
    closure_.clear();
    to_do_ = nodes;
    while (!to_do_.empty()) {
      const uint32_t node = to_do_.back();
      to_do_.pop_back();
      if (marks_[node] == mark_) {
        continue;
      }
      marks_[node] = mark_;
      switch (graph_[node].kind) {
        case NodeGraph::NodeKind::kFail:
          break;
        case NodeGraph::NodeKind::kSplit:
          to_do_.push_back(graph_[node].other);
          to_do_.push_back(graph_[node].next);
          break;
        case NodeGraph::NodeKind::kEnd:
        case NodeGraph::NodeKind::kByte:
        case NodeGraph::NodeKind::kCall:
          closure_.push_back(node);
          break;
      }
    }
    std::sort(closure_.begin(), closure_.end());
    return closure_;
  }

 private:
  const NodeGraph& graph_;
  std::vector<uint32_t> marks_;
  uint32_t mark_ = 0;
  std::vector<uint32_t> closure_;
  std::vector<uint32_t> to_do_;
};

// One rule's automaton, its states counted from 0, the first being its start.
struct RuleAutomaton {
  struct State {
    std::vector<ByteEdge> bytes;
    std::vector<std::pair<uint32_t, uint32_t>> calls;  // rule, state to return to
    bool ends = false;
  };
  std::vector<State> states;
};

class Compiler {
 public:
  Compiler(const GrammarRules& rules, GrammarAnalysis analysis, const GrammarLimits& limits)
      : rules_(rules),
        analysis_(std::move(analysis)),
        limits_(limits),
        numbers_(rules.rules.size(), kNoNumber),
        graph_(limits.states_max) {}

  absl::StatusOr<GrammarAutomaton> Compile() {
    const uint32_t root = RuleNumber(rules_.root);
    std::vector<uint32_t> entries;
    for (size_t i = 0; i < bodies_.size(); ++i) {  // compiling one finds more
      ASSIGN_OR_RETURN(const RuleAutomaton automaton, CompileRule(*bodies_[i]));
      entries.push_back(static_cast<uint32_t>(automaton_.states.size()));
      RETURN_IF_ERROR(Append(automaton, static_cast<uint32_t>(i)));
    }
    for (GrammarCall& call : automaton_.calls) {
      call.entry = entries[call.rule];
      if (call.return_to != GrammarCall::kTail) {
        const GrammarState& state = automaton_.states[call.return_to];
        if (state.ends && state.bytes_begin == state.bytes_end &&
            state.calls_begin == state.calls_end) {
          call.return_to = GrammarCall::kTail;
        }
      }
    }
    automaton_.root = entries[root];
    CompleteAutomaton(nullable_, automaton_);
    return std::move(automaton_);
  }

 private:
  static constexpr uint32_t kNoNumber = GrammarCall::kTail;

  absl::Status TooLarge(std::string_view what, size_t max) const {
    return absl::InvalidArgumentError(
        StrCat("grammar: its automaton needs more than ", max, " ", what,
               "; repetitions {m,n} of large elements are what costs most"));
  }

  // Rules are numbered as they are found from the root; repeated elements can be rules too.
  uint32_t NewNumber(const GrammarExpr& body) {
    bodies_.push_back(&body);
    nullable_.push_back(IsNullable(body, analysis_.nullable));
    return static_cast<uint32_t>(bodies_.size() - 1);
  }
  uint32_t RuleNumber(uint32_t rule) {
    if (numbers_[rule] == kNoNumber) {
      numbers_[rule] = NewNumber(rules_.rules[rule].body);
    }
    return numbers_[rule];
  }
  uint32_t HoistedNumber(const GrammarExpr& element) {
    const auto [found, inserted] = hoisted_.try_emplace(&element, 0);
    if (inserted) {
      found->second = NewNumber(element);
    }
    return found->second;
  }

  bool full() const { return graph_.full() || work_ > kWorkMax; }

  // The node at which `expr` starts, with `next` behind it. Stops early where there is no room.
  uint32_t Build(const GrammarExpr& expr, uint32_t next) {
    ++work_;
    if (full()) {
      return next;
    }
    switch (expr.kind) {
      case Kind::kLiteral:
        return graph_.Literal(expr.literal, next);
      case Kind::kClass:
        return graph_.Class(expr.ranges, next);
      case Kind::kRule:
        if (!analysis_.productive[expr.rule]) {
          return NodeGraph::kFailNode;
        }
        return analysis_.inlined[expr.rule] ? Build(rules_.rules[expr.rule].body, next)
                                            : graph_.Call(RuleNumber(expr.rule), next);
      case Kind::kSequence:
        for (auto part = expr.parts.rbegin(); part != expr.parts.rend(); ++part) {
          next = Build(*part, next);
        }
        return next;
      case Kind::kAlternatives: {
        uint32_t entry = Build(expr.parts.back(), next);
        for (size_t i = expr.parts.size() - 1; i-- > 0;) {
          entry = graph_.Split(Build(expr.parts[i], next), entry);
        }
        return entry;
      }
      case Kind::kRepeat:
        return BuildRepeat(expr, next);
    }
    return next;
  }

  uint32_t BuildRepeat(const GrammarExpr& expr, uint32_t next) {
    const bool hoisted =
        IsHoisted(expr, analysis_) && IsProductive(expr.parts[0], analysis_.productive);
    const auto element = [&](uint32_t behind) {
      return hoisted ? graph_.Call(HoistedNumber(expr.parts[0]), behind)
                     : Build(expr.parts[0], behind);
    };
    uint32_t entry = next;
    if (expr.repeat_max == kUnboundedRepeat) {
      entry = graph_.Split(NodeGraph::kFailNode, next);
      graph_.SetNext(entry, element(entry));
    } else {
      for (uint32_t i = expr.repeat_min; i < expr.repeat_max && !full(); ++i) {
        entry = graph_.Split(element(entry), next);
      }
    }
    for (uint32_t i = 0; i < expr.repeat_min && !full(); ++i) {
      entry = element(entry);
    }
    return entry;
  }

  absl::StatusOr<RuleAutomaton> CompileRule(const GrammarExpr& body) {
    graph_.Clear();
    const uint32_t entry = Build(body, NodeGraph::kEndNode);
    if (full()) {
      return TooLarge("states", limits_.states_max);
    }
    // A deterministic automaton can be exponentially larger. Then each state stands for what one
    // node leads to, and a text may lead to several states.
    const size_t states_max = std::min(4 * graph_.size() + 64, limits_.states_max);
    RuleAutomaton automaton;
    if (!MakeStates(entry, /*deterministic=*/true, states_max, automaton)) {
      automaton = {};
      if (work_ > kWorkMax ||
          !MakeStates(entry, /*deterministic=*/false, limits_.states_max, automaton)) {
        return work_ > kWorkMax ? TooLarge("edges", limits_.edges_max)
                                : TooLarge("states", limits_.states_max);
      }
    }
    DropDeadEdges(automaton);
    return automaton;
  }

  // False: more than states_max or too much work.
  bool MakeStates(uint32_t entry, bool deterministic, size_t states_max, RuleAutomaton& out) {
    NodeSets sets(graph_);
    absl::flat_hash_map<std::vector<uint32_t>, uint32_t> numbers;
    std::vector<std::vector<uint32_t>> owned;  // nodes of each state
    const auto state_of = [&](const std::vector<uint32_t>& from) {
      const std::vector<uint32_t>& closure = sets.Closure(from);
      work_ += closure.size() + 1;
      const auto [found, inserted] =
          numbers.try_emplace(closure, static_cast<uint32_t>(out.states.size()));
      if (inserted) {
        out.states.emplace_back();
        owned.push_back(closure);
      }
      return found->second;
    };
    state_of({entry});
    for (uint32_t i = 0; i < out.states.size(); ++i) {
      if (out.states.size() > states_max || work_ > kWorkMax) {
        return false;
      }
      const std::vector<uint32_t> members = std::move(owned[i]);
      RuleAutomaton::State state;
      std::vector<uint32_t> byte_nodes;
      std::vector<uint32_t> calls;
      for (const uint32_t node : members) {
        if (graph_[node].kind == NodeGraph::NodeKind::kByte) {
          byte_nodes.push_back(node);
        } else if (graph_[node].kind == NodeGraph::NodeKind::kCall) {
          calls.push_back(node);
        } else {
          state.ends = true;
        }
      }
      if (deterministic) {
        SplitBytes(byte_nodes, state_of, state.bytes);
        SplitCalls(calls, state_of, state.calls);
      } else {
        for (const uint32_t node : byte_nodes) {
          state.bytes.push_back(
              {graph_[node].low, graph_[node].high, state_of({graph_[node].next})});
        }
        std::sort(state.bytes.begin(), state.bytes.end(),
                  [](const ByteEdge& a, const ByteEdge& b) { return a.low < b.low; });
        for (const uint32_t node : calls) {
          state.calls.emplace_back(graph_[node].rule, state_of({graph_[node].next}));
        }
      }
      out.states[i] = std::move(state);
    }
    return true;
  }

  // Disjoint edges from overlapping ones.
  template <class StateOf>
  void SplitBytes(const std::vector<uint32_t>& nodes, StateOf state_of,
                  std::vector<ByteEdge>& out) {
    std::vector<int> cuts;
    for (const uint32_t node : nodes) {
      cuts.push_back(graph_[node].low);
      cuts.push_back(graph_[node].high + 1);
    }
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    std::vector<uint32_t> targets;
    for (size_t i = 0; i + 1 < cuts.size(); ++i) {
      work_ += nodes.size();
      targets.clear();
      for (const uint32_t node : nodes) {
        if (graph_[node].low <= cuts[i] && graph_[node].high >= cuts[i]) {
          targets.push_back(graph_[node].next);
        }
      }
      if (targets.empty()) {
        continue;
      }
      const uint32_t to = state_of(targets);
      const auto low = static_cast<uint8_t>(cuts[i]);
      const auto high = static_cast<uint8_t>(cuts[i + 1] - 1);
      if (!out.empty() && out.back().to == to && out.back().high + 1 == low) {
        out.back().high = high;
      } else {
        out.push_back({low, high, to});
      }
    }
  }

  template <class StateOf>
  void SplitCalls(std::vector<uint32_t>& nodes, StateOf state_of,
                  std::vector<std::pair<uint32_t, uint32_t>>& out) {
    std::sort(nodes.begin(), nodes.end(), [&](uint32_t a, uint32_t b) {
      return std::pair(graph_[a].rule, a) < std::pair(graph_[b].rule, b);
    });
    for (size_t i = 0; i < nodes.size();) {
      const uint32_t rule = graph_[nodes[i]].rule;
      std::vector<uint32_t> targets;
      for (; i < nodes.size() && graph_[nodes[i]].rule == rule; ++i) {
        targets.push_back(graph_[nodes[i]].next);
      }
      out.emplace_back(rule, state_of(targets));
    }
  }

  // Edges into states from which the rule's end cannot be reached.
  static void DropDeadEdges(RuleAutomaton& automaton) {
    std::vector<std::vector<uint32_t>> before(automaton.states.size());
    std::vector<bool> alive(automaton.states.size(), false);
    std::vector<uint32_t> to_do;
    for (uint32_t i = 0; i < automaton.states.size(); ++i) {
      const RuleAutomaton::State& state = automaton.states[i];
      for (const ByteEdge& edge : state.bytes) {
        before[edge.to].push_back(i);
      }
      for (const auto& [rule, to] : state.calls) {
        before[to].push_back(i);
      }
      if (state.ends) {
        to_do.push_back(i);
      }
    }
    while (!to_do.empty()) {
      const uint32_t state = to_do.back();
      to_do.pop_back();
      if (!alive[state]) {
        alive[state] = true;
        to_do.insert(to_do.end(), before[state].begin(), before[state].end());
      }
    }
    for (RuleAutomaton::State& state : automaton.states) {
      std::erase_if(state.bytes, [&](const ByteEdge& edge) { return !alive[edge.to]; });
      std::erase_if(state.calls, [&](const auto& call) { return !alive[call.second]; });
    }
  }

  absl::Status Append(const RuleAutomaton& rule, uint32_t number) {
    const auto first = static_cast<uint32_t>(automaton_.states.size());
    if (first + rule.states.size() > limits_.states_max) {
      return TooLarge("states", limits_.states_max);
    }
    for (const RuleAutomaton::State& from : rule.states) {
      GrammarState state;
      state.rule = number;
      state.ends = from.ends;
      state.bytes_begin = static_cast<uint32_t>(automaton_.byte_edges.size());
      for (const ByteEdge& edge : from.bytes) {
        automaton_.byte_edges.push_back({edge.low, edge.high, first + edge.to});
      }
      state.bytes_end = static_cast<uint32_t>(automaton_.byte_edges.size());
      state.calls_begin = static_cast<uint32_t>(automaton_.calls.size());
      for (const auto& [called, to] : from.calls) {
        automaton_.calls.push_back({.rule = called, .entry = 0, .return_to = first + to});
      }
      state.calls_end = static_cast<uint32_t>(automaton_.calls.size());
      automaton_.states.push_back(state);
    }
    if (automaton_.byte_edges.size() + automaton_.calls.size() > limits_.edges_max) {
      return TooLarge("edges", limits_.edges_max);
    }
    return absl::OkStatus();
  }

  // Steps of building, some ten nanoseconds each, and numbers kept meanwhile.
  static constexpr size_t kWorkMax = size_t{1} << 24;

  const GrammarRules& rules_;
  const GrammarAnalysis analysis_;
  const GrammarLimits& limits_;
  std::vector<uint32_t> numbers_;           // of rules_, in the automaton
  std::vector<const GrammarExpr*> bodies_;  // of the automaton's rules
  std::vector<bool> nullable_;              // of the automaton's rules
  absl::flat_hash_map<const GrammarExpr*, uint32_t> hoisted_;
  NodeGraph graph_;
  size_t work_ = 0;
  GrammarAutomaton automaton_;
};

}  // namespace

absl::StatusOr<GrammarAutomaton> CompileGrammar(const GrammarRules& rules,
                                                const GrammarLimits& limits) {
  ASSIGN_OR_RETURN(GrammarAnalysis analysis, AnalyseGrammar(rules));
  return Compiler(rules, std::move(analysis), limits).Compile();
}

}  // namespace baton
