#include "engine/model/grammar/analysis.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

using Kind = GrammarExpr::Kind;
using Edges = std::vector<std::vector<uint32_t>>;  // from each rule to others

// Rules of so few nodes stand where they are used: white space, one character of a string. Larger
// ones stay apart, so that what is worked out for them once holds wherever they are used; likewise
// those with a loop, in which many tokens stay.
constexpr size_t kInlinedNodesMax = 128;
constexpr size_t kInlinedLoopNodesMax = 16;
constexpr size_t kNodesMax = size_t{1} << 30;
// A bounded repetition of more nodes than this is one of calls.
constexpr size_t kWrittenOutNodesMax = 4096;
constexpr std::ptrdiff_t kNamedRulesMax = 8;  // in a message

// Copies that a written-out repetition holds.
size_t Copies(const GrammarExpr& repeat) {
  return repeat.repeat_max == kUnboundedRepeat ? size_t{repeat.repeat_min} + 1 : repeat.repeat_max;
}

// Whether the copies of what takes `nodes` each are better calls of one rule.
bool IsTooManyCopies(const GrammarExpr& repeat, size_t nodes) {
  return nodes > 1 && Copies(repeat) > 1 && Copies(repeat) * nodes > kWrittenOutNodesMax;
}

bool HasLoop(const GrammarExpr& expr, const std::vector<bool>& looping_rules) {
  return (expr.kind == Kind::kRepeat && expr.repeat_max == kUnboundedRepeat) ||
         (expr.kind == Kind::kRule && looping_rules[expr.rule]) ||
         std::any_of(expr.parts.begin(), expr.parts.end(),
                     [&](const GrammarExpr& part) { return HasLoop(part, looping_rules); });
}

void AppendRules(const GrammarExpr& expr, std::vector<uint32_t>& out) {
  if (expr.kind == Kind::kRule) {
    out.push_back(expr.rule);
  }
  for (const GrammarExpr& part : expr.parts) {
    AppendRules(part, out);
  }
}

// The rules that `expr` can enter before it has matched a byte.
void AppendLeftRules(const GrammarExpr& expr, const std::vector<bool>& nullable,
                     std::vector<uint32_t>& out) {
  if (expr.kind == Kind::kRule) {
    out.push_back(expr.rule);
  }
  for (const GrammarExpr& part : expr.parts) {
    AppendLeftRules(part, nullable, out);
    if (expr.kind == Kind::kSequence && !IsNullable(part, nullable)) {
      break;
    }
  }
}

template <class Append>
Edges EdgesBetween(const GrammarRules& rules, Append append) {
  Edges edges(rules.rules.size());
  for (size_t i = 0; i < edges.size(); ++i) {
    append(rules.rules[i].body, edges[i]);
    std::sort(edges[i].begin(), edges[i].end());
    edges[i].erase(std::unique(edges[i].begin(), edges[i].end()), edges[i].end());
  }
  return edges;
}

Edges Reversed(const Edges& edges) {
  Edges reversed(edges.size());
  for (size_t from = 0; from < edges.size(); ++from) {
    for (const uint32_t to : edges[from]) {
      reversed[to].push_back(static_cast<uint32_t>(from));
    }
  }
  return reversed;
}

// The smallest set of rules that holds each rule for which `holds`, a monotone function of the set.
template <class Holds>
std::vector<bool> SmallestSet(const GrammarRules& rules, const Edges& users, Holds holds) {
  std::vector<bool> set(rules.rules.size(), false);
  std::vector<uint32_t> to_do(rules.rules.size());
  for (size_t i = 0; i < to_do.size(); ++i) {
    to_do[i] = static_cast<uint32_t>(i);
  }
  while (!to_do.empty()) {
    const uint32_t rule = to_do.back();
    to_do.pop_back();
    if (!set[rule] && holds(rules.rules[rule].body, set)) {
      set[rule] = true;
      to_do.insert(to_do.end(), users[rule].begin(), users[rule].end());
    }
  }
  return set;
}

// Visits all rules depth first, without recursion, which a long chain of rules would exhaust.
// on_cycle(path, to): the rules from the first to the current one; an edge leads back to `to`, one
// of them. on_leave(rule): all that it leads to has been left, but for such edges.
template <class OnCycle, class OnLeave>
absl::Status VisitDepthFirst(const Edges& edges, OnCycle on_cycle, OnLeave on_leave) {
  enum : char { kNew, kOpen, kLeft };
  std::vector<char> marks(edges.size(), kNew);
  std::vector<uint32_t> path;
  std::vector<size_t> next;  // edge of path's rules
  for (size_t first = 0; first < edges.size(); ++first) {
    if (marks[first] == kNew) {
      marks[first] = kOpen;
      path.push_back(static_cast<uint32_t>(first));
      next.push_back(0);
    }
    while (!path.empty()) {
      const uint32_t rule = path.back();
      if (next.back() == edges[rule].size()) {
        marks[rule] = kLeft;
        path.pop_back();
        next.pop_back();
        on_leave(rule);
        continue;
      }
      const uint32_t to = edges[rule][next.back()++];
      if (marks[to] == kOpen) {
        RETURN_IF_ERROR(on_cycle(path, to));
      } else if (marks[to] == kNew) {
        marks[to] = kOpen;
        path.push_back(to);
        next.push_back(0);
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLeftRecursion(const GrammarRules& rules, const GrammarAnalysis& analysis) {
  const Edges left = EdgesBetween(rules, [&](const GrammarExpr& body, std::vector<uint32_t>& out) {
    AppendLeftRules(body, analysis.nullable, out);
  });
  return VisitDepthFirst(
      left,
      [&](const std::vector<uint32_t>& path, uint32_t to) {
        std::string cycle;
        const auto first = std::find(path.begin(), path.end(), to);
        for (auto rule = first; rule != path.end(); ++rule) {
          if (rule - first == kNamedRulesMax) {
            cycle += "... -> ";
            break;
          }
          cycle += StrCat(Escaped(rules.rules[*rule].name), " -> ");
        }
        return absl::InvalidArgumentError(
            StrCat("grammar: left recursion, ", cycle, Escaped(rules.rules[to].name),
                   " without a character between; write it as a repetition"));
      },
      [](uint32_t) {});
}

}  // namespace

bool IsNullable(const GrammarExpr& expr, const std::vector<bool>& nullable_rules) {
  const auto part_is = [&](const GrammarExpr& part) { return IsNullable(part, nullable_rules); };
  switch (expr.kind) {
    case Kind::kLiteral:
      return expr.literal.empty();
    case Kind::kClass:
      return false;
    case Kind::kRule:
      return nullable_rules[expr.rule];
    case Kind::kSequence:
      return std::all_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Kind::kAlternatives:
      return std::any_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Kind::kRepeat:
      return expr.repeat_min == 0 || part_is(expr.parts[0]);
  }
  return false;
}

bool IsProductive(const GrammarExpr& expr, const std::vector<bool>& productive_rules) {
  const auto part_is = [&](const GrammarExpr& part) {
    return IsProductive(part, productive_rules);
  };
  switch (expr.kind) {
    case Kind::kLiteral:
      return true;
    case Kind::kClass:
      return !expr.ranges.empty();
    case Kind::kRule:
      return productive_rules[expr.rule];
    case Kind::kSequence:
      return std::all_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Kind::kAlternatives:
      return std::any_of(expr.parts.begin(), expr.parts.end(), part_is);
    case Kind::kRepeat:
      return expr.repeat_min == 0 || part_is(expr.parts[0]);
  }
  return false;
}

size_t NodeCount(const GrammarExpr& expr, const GrammarAnalysis& analysis) {
  size_t nodes = 0;
  switch (expr.kind) {
    case Kind::kLiteral:
      return expr.literal.size();
    case Kind::kClass:
      for (const CodePointRange& range : expr.ranges) {
        nodes += range.last < 0x80 ? 1 : 5;  // shared tails included
      }
      return nodes;
    case Kind::kRule:
      return analysis.inlined[expr.rule] ? analysis.nodes[expr.rule] : 1;
    case Kind::kSequence:
    case Kind::kAlternatives:
      for (const GrammarExpr& part : expr.parts) {
        nodes = std::min(kNodesMax, nodes + NodeCount(part, analysis) + 1);
      }
      return nodes;
    case Kind::kRepeat:
      nodes = NodeCount(expr.parts[0], analysis);  // once: nested repetitions would double the work
      return std::min(kNodesMax, Copies(expr) * ((IsTooManyCopies(expr, nodes) ? 1 : nodes) + 1));
  }
  return nodes;
}

bool IsHoisted(const GrammarExpr& repeat, const GrammarAnalysis& analysis) {
  return IsTooManyCopies(repeat, NodeCount(repeat.parts[0], analysis));
}

absl::StatusOr<GrammarAnalysis> AnalyseGrammar(const GrammarRules& rules) {
  const size_t count = rules.rules.size();
  const Edges uses = EdgesBetween(rules, AppendRules);
  const Edges users = Reversed(uses);
  GrammarAnalysis analysis;
  analysis.nullable = SmallestSet(rules, users, IsNullable);
  analysis.productive = SmallestSet(rules, users, IsProductive);
  analysis.inlined.assign(count, false);
  analysis.nodes.assign(count, 0);
  RETURN_IF_ERROR(CheckLeftRecursion(rules, analysis));
  if (!analysis.productive[rules.root]) {
    return absl::InvalidArgumentError(
        "grammar: root cannot match any text: each of its alternatives needs a rule that never "
        "ends, or a character class without characters");
  }
  std::vector<bool> recursive(count, false);  // an edge of a cycle leads to it
  std::vector<bool> looping(count, false);    // matches without limit, as far as is seen here
  RETURN_IF_ERROR(VisitDepthFirst(
      uses,
      [&](const std::vector<uint32_t>&, uint32_t to) {
        recursive[to] = true;
        return absl::OkStatus();
      },
      [&](uint32_t rule) {
        analysis.nodes[rule] = NodeCount(rules.rules[rule].body, analysis);
        looping[rule] = recursive[rule] || HasLoop(rules.rules[rule].body, looping);
        analysis.inlined[rule] =
            !recursive[rule] &&
            analysis.nodes[rule] <= (looping[rule] ? kInlinedLoopNodesMax : kInlinedNodesMax);
      }));
  return analysis;
}

}  // namespace baton
