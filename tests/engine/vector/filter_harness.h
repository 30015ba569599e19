#pragma once

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/request/datetime.h"
#include "engine/request/filter.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {

// Points with payloads of every type, random filters over them, and what a filter means, said the
// plain way.

inline const std::vector<PayloadIndex>& TestIndexes() {
  static const auto& indexes = *new std::vector<PayloadIndex>{
      {"at", PayloadIndexKind::kDatetime},     {"color", PayloadIndexKind::kKeyword},
      {"flag", PayloadIndexKind::kBoolean},    {"n", PayloadIndexKind::kInteger},
      {"numbers", PayloadIndexKind::kInteger}, {"tags", PayloadIndexKind::kKeyword},
      {"text", PayloadIndexKind::kText},       {"x", PayloadIndexKind::kNumber}};
  return indexes;
}

inline std::string Pick(std::mt19937& random, const std::vector<std::string>& from) {
  return from[random() % from.size()];
}

inline const std::vector<std::string>& Colors() {
  static const auto& colors =
      *new std::vector<std::string>{"red", "green", "blue", "Blue", "", "caf\xC3\xA9"};
  return colors;
}

inline const std::vector<std::string>& Words() {
  static const auto& words = *new std::vector<std::string>{"alpha", "beta", "gamma", "delta", "42"};
  return words;
}

// Some fields are absent, and some hold what their index does not take.
inline Payload RandomPayload(std::mt19937& random) {
  Payload payload;
  const auto has = [&random] { return random() % 8 != 0; };
  if (has()) payload["color"] = Pick(random, Colors());
  if (has()) payload["n"] = static_cast<int64_t>(random() % 20) - 10;
  if (has()) payload["x"] = static_cast<double>(random() % 100) / 8 - 5;
  if (random() % 8 == 0) payload["x"] = static_cast<int64_t>(random() % 10);
  if (has()) payload["flag"] = random() % 3 == 0;
  if (has()) payload["at"] = "2026-01-" + std::to_string(10 + random() % 20) + "T12:00:00Z";
  if (random() % 8 == 0) payload["at"] = std::string("never");
  if (random() % 8 == 0) payload["n"] = std::string("many");
  if (has()) {
    std::vector<std::string> tags;
    for (size_t i = random() % 4; i > 0; --i) tags.push_back(Pick(random, Colors()));
    payload["tags"] = tags;
  }
  if (has()) {
    std::vector<int64_t> numbers;
    for (size_t i = random() % 3; i > 0; --i) numbers.push_back(static_cast<int64_t>(random() % 6));
    payload["numbers"] = numbers;
  }
  if (has()) {
    std::string text;
    for (size_t i = random() % 4; i > 0; --i) text += Pick(random, Words()) + ", ";
    if (random() % 2 == 0) std::transform(text.begin(), text.end(), text.begin(), ::toupper);
    payload["text"] = text;
  }
  return payload;
}

inline Condition RandomCondition(std::mt19937& random, PointId ids) {
  const auto values = [&random](auto make) {
    std::vector<FilterValue> any;
    for (size_t i = 1 + random() % 3; i > 0; --i) any.push_back(make());
    return Match{.any = any, .except = random() % 4 == 0};
  };
  const auto bounds = [&random]<class T>(T low, T high) {
    Bounds<T> made;
    (random() % 2 == 0 ? made.gt : made.gte) = low;
    if (random() % 2 == 0) (random() % 2 == 0 ? made.lt : made.lte) = high;
    return made;
  };
  switch (random() % 11) {
    case 0:
      return {.field = "color", .test = values([&] { return Pick(random, Colors()); })};
    case 1:
      return {.field = "tags", .test = values([&] { return Pick(random, Colors()); })};
    case 2:
      return {.field = "n",
              .test = values([&] { return static_cast<int64_t>(random() % 20) - 10; })};
    case 3:
      return {.field = "flag", .test = Match{.any = {random() % 2 == 0}}};
    case 4: {
      const double low = static_cast<double>(random() % 24) / 2 - 6;
      return {.field = random() % 2 == 0 ? "x" : "n",
              .test = InRange{bounds(low, low + static_cast<double>(random() % 10) / 2)}};
    }
    case 5: {
      const int64_t low = static_cast<int64_t>(random() % 12) - 6;
      const std::vector<std::string> fields = {"x", "n", "numbers"};
      return {.field = Pick(random, fields),
              .test = InRange{bounds(low, low + static_cast<int64_t>(random() % 5))}};
    }
    case 6: {
      const auto at = [&random] {
        return Datetime{*ParseDatetime("2026-01-" + std::to_string(10 + random() % 20))};
      };
      return {.field = "at", .test = InRange{bounds(at(), at())}};
    }
    case 7: {
      std::string words = Pick(random, Words());
      if (random() % 2 == 0) words += " " + Pick(random, Words());
      return {.field = "text", .test = ContainsWords{words}};
    }
    case 8:
      return {.field = TestIndexes()[random() % TestIndexes().size()].field, .test = IsEmpty()};
    case 9:
      return {.field = TestIndexes()[random() % TestIndexes().size()].field,
              .test = ValuesCount{bounds(static_cast<int64_t>(random() % 3), int64_t{3})}};
    default: {
      HasId some;
      for (size_t i = 1 + random() % 30; i > 0; --i) some.ids.push_back(random() % ids);
      return {.field = "", .test = some};
    }
  }
}

inline Filter RandomFilter(std::mt19937& random, PointId ids) {
  using Clause = Filter::Clause;
  Filter filter;
  std::vector<int32_t> groups = {Filter::kRoot};
  for (size_t i = 1 + random() % 4; i > 0; --i) {
    const int32_t group = groups[random() % groups.size()];
    const Clause clause =
        std::vector{Clause::kMust, Clause::kMust, Clause::kShould, Clause::kMustNot}[random() % 4];
    if (random() % 5 == 0) {
      groups.push_back(filter.AddGroup(group, clause));
    } else {
      filter.Add(group, clause, RandomCondition(random, ids));
    }
  }
  return filter;
}

// ---- What a filter means

template <class T>
bool Within(const Bounds<T>& bounds, T value) {
  return (!bounds.gt || value > *bounds.gt) && (!bounds.gte || value >= *bounds.gte) &&
         (!bounds.lt || value < *bounds.lt) && (!bounds.lte || value <= *bounds.lte);
}

// Numbers here are small: doubles hold them exactly.
inline bool NaiveRange(const InRange& range, const PayloadValue& value, PayloadIndexKind kind) {
  if (const auto* bounds = std::get_if<Bounds<Datetime>>(&range.bounds)) {
    Bounds<int64_t> us;
    if (bounds->gt) us.gt = bounds->gt->us;
    if (bounds->gte) us.gte = bounds->gte->us;
    if (bounds->lt) us.lt = bounds->lt->us;
    if (bounds->lte) us.lte = bounds->lte->us;
    const auto* text = std::get_if<std::string>(&value);
    const auto at = text == nullptr ? std::nullopt : ParseDatetime(*text);
    return at.has_value() && Within(us, *at);
  }
  double number = 0;
  if (const auto* integer = std::get_if<int64_t>(&value)) {
    number = static_cast<double>(*integer);
  } else if (std::holds_alternative<double>(value) && kind == PayloadIndexKind::kNumber) {
    number = std::get<double>(value);
  } else {
    return false;
  }
  if (const auto* bounds = std::get_if<Bounds<double>>(&range.bounds)) {
    return Within(*bounds, number);
  }
  const auto& integers = std::get<Bounds<int64_t>>(range.bounds);
  Bounds<double> bounds;
  const auto copy = [](std::optional<int64_t> from) {
    return from ? std::optional<double>(static_cast<double>(*from)) : std::nullopt;
  };
  bounds = {copy(integers.gt), copy(integers.gte), copy(integers.lt), copy(integers.lte)};
  return Within(bounds, number);
}

inline std::set<std::string> NaiveWords(std::string text) {
  std::set<std::string> words;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalnum(static_cast<unsigned char>(c))) {
      word += static_cast<char>(std::tolower(c));
    } else if (!word.empty()) {
      words.insert(std::exchange(word, ""));
    }
  }
  return words;
}

inline bool NaiveMatches(const Condition& condition, PointId id, const Payload& payload) {
  if (const auto* ids = std::get_if<HasId>(&condition.test)) {
    return std::count(ids->ids.begin(), ids->ids.end(), id) > 0;
  }
  std::vector<PayloadValue> values;
  const auto found = payload.find(condition.field);
  if (found != payload.end()) {
    if (const auto* texts = std::get_if<std::vector<std::string>>(&found->second)) {
      values.assign(texts->begin(), texts->end());
    } else if (const auto* integers = std::get_if<std::vector<int64_t>>(&found->second)) {
      values.assign(integers->begin(), integers->end());
    } else {
      values.push_back(found->second);
    }
  }
  if (std::holds_alternative<IsEmpty>(condition.test)) return values.empty();
  if (const auto* count = std::get_if<ValuesCount>(&condition.test)) {
    return Within(count->bounds, static_cast<int64_t>(values.size()));
  }
  const auto index =
      std::find_if(TestIndexes().begin(), TestIndexes().end(),
                   [&](const auto& other) { return other.field == condition.field; });
  const PayloadIndexKind kind =
      index == TestIndexes().end() ? PayloadIndexKind::kNumber : index->kind;
  return std::any_of(values.begin(), values.end(), [&](const PayloadValue& value) {
    if (const auto* match = std::get_if<Match>(&condition.test)) {
      const bool comparable = std::visit(
          [&value](const auto& wanted) {
            return std::holds_alternative<std::decay_t<decltype(wanted)>>(value);
          },
          match->any.front());
      const bool equal =
          std::any_of(match->any.begin(), match->any.end(), [&value](const FilterValue& wanted) {
            return std::visit(
                [&value](const auto& each) {
                  const auto* const same = std::get_if<std::decay_t<decltype(each)>>(&value);
                  return same != nullptr && *same == each;
                },
                wanted);
          });
      return comparable && equal != match->except;
    }
    if (const auto* range = std::get_if<InRange>(&condition.test)) {
      return NaiveRange(*range, value, kind);
    }
    const auto* text = std::get_if<std::string>(&value);
    if (text == nullptr) return false;
    const auto wanted = NaiveWords(std::get<ContainsWords>(condition.test).words);
    const auto words = NaiveWords(*text);
    return std::includes(words.begin(), words.end(), wanted.begin(), wanted.end());
  });
}

inline bool NaiveMatches(const Filter& filter, PointId id, const Payload& payload,
                         int32_t group = Filter::kRoot) {
  bool has_should = false;
  bool should = false;
  for (size_t i = 1; i < filter.nodes().size(); ++i) {
    const Filter::Node& node = filter.nodes()[i];
    if (node.parent != group) continue;
    const bool matches = node.condition.has_value()
                             ? NaiveMatches(*node.condition, id, payload)
                             : NaiveMatches(filter, id, payload, static_cast<int32_t>(i));
    if (node.clause == Filter::Clause::kMust && !matches) return false;
    if (node.clause == Filter::Clause::kMustNot && matches) return false;
    if (node.clause == Filter::Clause::kShould) {
      has_should = true;
      should = should || matches;
    }
  }
  return !has_should || should;
}

// ---- What a store with payloads should hold

using PointTwin = std::map<PointId, Point>;

inline Twin MatchingTwin(const PointTwin& twin, const Filter& filter) {
  Twin matching;
  for (const auto& [id, point] : twin) {
    if (NaiveMatches(filter, id, point.payload)) matching[id] = point.vector;
  }
  return matching;
}

inline void ApplyPatch(PointTwin& twin, const PayloadPatch& patch) {
  for (const PointId id : patch.ids) {
    const auto found = twin.find(id);
    if (found == twin.end()) continue;
    if (patch.clear) found->second.payload.clear();
    for (const std::string& key : patch.delete_keys) found->second.payload.erase(key);
    for (const auto& [key, value] : patch.set) found->second.payload[key] = value;
  }
}

inline WriteResult CommitWrite(VectorStore& store, Write write) {
  std::vector<Write> writes;
  writes.push_back(std::move(write));
  return store.Commit(std::move(writes)).at(0);
}

}  // namespace baton
