#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/ids.h"

namespace baton {

// Whether a payload index, and so the conditions that use it, takes a field's values as:
enum class PayloadIndexKind : uint8_t {
  kKeyword,   // texts, compared as a whole, byte by byte
  kInteger,   // integers
  kNumber,    // numbers and integers
  kBoolean,   // booleans
  kDatetime,  // RFC 3339 texts (ParseDatetime), or integers: microseconds since 1970
  kText,      // texts, by their words
};

// Values of another type are not in the index: no condition but those on their count finds them.
struct PayloadIndex {
  std::string field;
  PayloadIndexKind kind = PayloadIndexKind::kKeyword;
  friend bool operator==(const PayloadIndex&, const PayloadIndex&) = default;
};

// Those of a collection, by field.
using PayloadIndexes = std::vector<PayloadIndex>;

// Bounds of an interval; at most one of gt and gte, and of lt and lte, and at least one of all.
template <class T>
struct Bounds {
  std::optional<T> gt = {};
  std::optional<T> gte = {};
  std::optional<T> lt = {};
  std::optional<T> lte = {};
};

// Microseconds since 1970.
struct Datetime {
  int64_t us = 0;
};

// What a condition asks of a field that may have several values. All but IsEmpty and ValuesCount
// are false where it has none.
using FilterValue = std::variant<std::string, int64_t, bool>;
struct Match {
  std::vector<FilterValue> any;  // of one type, that of the field's index
  bool except = false;           // a value that is none of them, instead of one that is
};
struct InRange {
  std::variant<Bounds<double>, Bounds<int64_t>, Bounds<Datetime>> bounds;
};
struct ContainsWords {
  std::string words;  // every one of them, in any order: Unicode words, whatever their case
};
struct IsEmpty {};  // absent, or a list without values
struct ValuesCount {
  Bounds<int64_t> bounds;
};
struct HasId {  // of the point, not of a field
  std::vector<PointId> ids;
};

struct Condition {
  std::string field;  // empty for HasId
  std::variant<Match, InRange, ContainsWords, IsEmpty, ValuesCount, HasId> test;
};

struct FilterLimits {
  int64_t conditions_max = 0;  // groups count, too
  int64_t depth_max = 0;       // a filter without groups inside has depth 1
  int64_t values_max = 0;      // in one condition
};

// Which points are meant: those that match a group. A group matches where all its `must` match, one
// of its `should` (if it has any), and none of its `must_not`; each of them is a condition or
// another group. An empty group matches everything.
//
// Kept as a list, parents before children: nothing recurses, however deep a client nests.
class Filter {
 public:
  enum class Clause : uint8_t { kMust, kShould, kMustNot };
  struct Node {
    int32_t parent = 0;
    int32_t depth = 0;  // groups around it
    Clause clause = Clause::kMust;
    std::optional<Condition> condition = {};  // nothing: a group
  };
  static constexpr int32_t kRoot = 0;

  Filter() : nodes_(1) {}
  // One condition that must hold.
  explicit Filter(Condition condition) : Filter() {
    Add(kRoot, Clause::kMust, std::move(condition));
  }

  // Below the group `parent`, kRoot or what another call returned.
  int32_t AddGroup(int32_t parent, Clause clause);
  void Add(int32_t parent, Clause clause, Condition condition);
  // Another filter as a group.
  void Add(int32_t parent, Clause clause, const Filter& filter);

  // The root first.
  std::span<const Node> nodes() const { return nodes_; }
  // How a client knows a node: "filter.must[1].should[0]". For messages.
  std::string PathOf(int32_t node) const;

  // INVALID_ARGUMENT naming the condition, the limit and the value.
  absl::Status Check(const FilterLimits& limits) const;

 private:
  std::vector<Node> nodes_;
};

}  // namespace baton
