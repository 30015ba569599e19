#include "engine/request/filter.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kFieldBytesMax = 256;

const char* NameOf(Filter::Clause clause) {
  switch (clause) {
    case Filter::Clause::kMust:
      return "must";
    case Filter::Clause::kShould:
      return "should";
    case Filter::Clause::kMustNot:
      return "must_not";
  }
  return "";
}

template <class T>
absl::Status CheckBounds(const std::string& path, const Bounds<T>& bounds) {
  if (bounds.gt.has_value() && bounds.gte.has_value()) {
    return absl::InvalidArgumentError(StrCat(path, " has both gt and gte, allowed is one"));
  }
  if (bounds.lt.has_value() && bounds.lte.has_value()) {
    return absl::InvalidArgumentError(StrCat(path, " has both lt and lte, allowed is one"));
  }
  if (!bounds.gt && !bounds.gte && !bounds.lt && !bounds.lte) {
    return absl::InvalidArgumentError(StrCat(path, " needs one of gt, gte, lt and lte"));
  }
  if constexpr (std::is_same_v<T, double>) {
    for (const auto& bound : {bounds.gt, bounds.gte, bounds.lt, bounds.lte}) {
      if (bound.has_value() && std::isnan(*bound)) {
        return absl::InvalidArgumentError(StrCat(path, " has a bound that is not a number"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckLength(const std::string& path, const char* what, size_t count,
                         const FilterLimits& limits) {
  if (count >= 1 && static_cast<int64_t>(count) <= limits.values_max) return absl::OkStatus();
  return absl::InvalidArgumentError(
      StrCat(path, " has ", count, " ", what, ", allowed is 1 to ", limits.values_max));
}

absl::Status CheckCondition(const std::string& path, const Condition& condition,
                            const FilterLimits& limits) {
  if (const auto* ids = std::get_if<HasId>(&condition.test)) {
    return CheckLength(path, "ids", ids->ids.size(), limits);
  }
  if (condition.field.empty() || condition.field.size() > kFieldBytesMax) {
    return absl::InvalidArgumentError(StrCat(path, ".field has ", condition.field.size(),
                                             " bytes, allowed is 1 to ", kFieldBytesMax));
  }
  if (const auto* match = std::get_if<Match>(&condition.test)) {
    RETURN_IF_ERROR(CheckLength(path, "values", match->any.size(), limits));
    const size_t type = match->any.front().index();
    if (!std::all_of(match->any.begin(), match->any.end(),
                     [type](const FilterValue& value) { return value.index() == type; })) {
      return absl::InvalidArgumentError(StrCat(path, " has values of several types"));
    }
  } else if (const auto* range = std::get_if<InRange>(&condition.test)) {
    return std::visit([&path](const auto& bounds) { return CheckBounds(path, bounds); },
                      range->bounds);
  } else if (const auto* count = std::get_if<ValuesCount>(&condition.test)) {
    return CheckBounds(path, count->bounds);
  }
  return absl::OkStatus();
}

}  // namespace

int32_t Filter::AddGroup(int32_t parent, Clause clause) {
  nodes_.push_back({.parent = parent, .depth = nodes_[parent].depth + 1, .clause = clause});
  return static_cast<int32_t>(nodes_.size()) - 1;
}

void Filter::Add(int32_t parent, Clause clause, Condition condition) {
  nodes_[AddGroup(parent, clause)].condition = std::move(condition);
}

void Filter::Add(int32_t parent, Clause clause, const Filter& filter) {
  std::vector<int32_t> places = {AddGroup(parent, clause)};
  for (const Node& node : filter.nodes().subspan(1)) {
    places.push_back(AddGroup(places[node.parent], node.clause));
    nodes_.back().condition = node.condition;
  }
}

std::string Filter::PathOf(int32_t node) const {
  std::string path;
  for (; node != kRoot; node = nodes_[node].parent) {
    const Node& at = nodes_[node];
    const auto index =
        std::count_if(nodes_.begin() + 1, nodes_.begin() + node, [&at](const Node& other) {
          return other.parent == at.parent && other.clause == at.clause;
        });
    path = StrCat(".", NameOf(at.clause), "[", index, "]", path);
  }
  return StrCat("filter", path);
}

absl::Status Filter::Check(const FilterLimits& limits) const {
  const auto conditions = static_cast<int64_t>(nodes_.size()) - 1;
  if (conditions > limits.conditions_max) {
    return absl::InvalidArgumentError(
        StrCat("filter has ", conditions, " conditions, allowed is ", limits.conditions_max));
  }
  for (const Node& node : nodes_) {
    // A condition is no level of its own.
    const int64_t depth = node.depth + (node.condition.has_value() ? 0 : 1);
    if (depth > limits.depth_max) {
      return absl::InvalidArgumentError(
          StrCat("filter is nested ", depth, " deep or more, allowed is ", limits.depth_max));
    }
  }
  for (size_t i = 1; i < nodes_.size(); ++i) {
    if (!nodes_[i].condition.has_value()) continue;
    // A node's path takes a look at those before it: only where it is to be told.
    if (CheckCondition("", *nodes_[i].condition, limits).ok()) continue;
    return CheckCondition(PathOf(static_cast<int32_t>(i)), *nodes_[i].condition, limits);
  }
  return absl::OkStatus();
}

}  // namespace baton
