#include "server/translate_filter.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/request/datetime.h"
#include "server/translate_ids.h"

namespace baton {
namespace {

absl::StatusOr<FilterValue> ToValue(const v1::MatchValue& proto) {
  switch (proto.kind_case()) {
    case v1::MatchValue::kText:
      return FilterValue(proto.text());
    case v1::MatchValue::kInteger:
      return FilterValue(int64_t{proto.integer()});
    case v1::MatchValue::kBoolean:
      return FilterValue(proto.boolean());
    case v1::MatchValue::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("has a value that is no text, integer or boolean");
}

absl::StatusOr<Match> ToMatch(const v1::MatchList& proto, bool except) {
  Match match{.any = {}, .except = except};
  match.any.reserve(static_cast<size_t>(proto.values_size()));
  for (const v1::MatchValue& value : proto.values()) {
    ASSIGN_OR_RETURN(FilterValue made, ToValue(value));
    match.any.push_back(std::move(made));
  }
  return match;
}

template <class T, class Range>
Bounds<T> ToBounds(const Range& proto) {
  Bounds<T> bounds;
  if (proto.has_gt()) bounds.gt = proto.gt();
  if (proto.has_gte()) bounds.gte = proto.gte();
  if (proto.has_lt()) bounds.lt = proto.lt();
  if (proto.has_lte()) bounds.lte = proto.lte();
  return bounds;
}

absl::StatusOr<Bounds<Datetime>> ToBounds(const v1::DatetimeRange& proto) {
  Bounds<Datetime> bounds;
  const auto read = [](bool there, const std::string& text, const char* name,
                       std::optional<Datetime>* bound) -> absl::Status {
    if (!there) return absl::OkStatus();
    const std::optional<int64_t> us = ParseDatetime(text);
    if (!us.has_value()) {
      return absl::InvalidArgumentError(StrCat(
          "datetime_range.", name, " must be an RFC 3339 time, but is \"", Escaped(text), "\""));
    }
    *bound = Datetime{*us};
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(read(proto.has_gt(), proto.gt(), "gt", &bounds.gt));
  RETURN_IF_ERROR(read(proto.has_gte(), proto.gte(), "gte", &bounds.gte));
  RETURN_IF_ERROR(read(proto.has_lt(), proto.lt(), "lt", &bounds.lt));
  RETURN_IF_ERROR(read(proto.has_lte(), proto.lte(), "lte", &bounds.lte));
  return bounds;
}

// Any condition but a filter. Its errors say what is wrong, not where.
absl::StatusOr<Condition> ToCondition(const v1::Condition& proto) {
  Condition condition{.field = proto.field(), .test = IsEmpty()};
  switch (proto.test_case()) {
    case v1::Condition::kMatch: {
      ASSIGN_OR_RETURN(FilterValue value, ToValue(proto.match()));
      condition.test = Match{.any = {std::move(value)}};
      return condition;
    }
    case v1::Condition::kMatchAny: {
      ASSIGN_OR_RETURN(condition.test, ToMatch(proto.match_any(), /*except=*/false));
      return condition;
    }
    case v1::Condition::kMatchExcept: {
      ASSIGN_OR_RETURN(condition.test, ToMatch(proto.match_except(), /*except=*/true));
      return condition;
    }
    case v1::Condition::kRange:
      condition.test = InRange{ToBounds<double>(proto.range())};
      return condition;
    case v1::Condition::kIntegerRange:
      condition.test = InRange{ToBounds<int64_t>(proto.integer_range())};
      return condition;
    case v1::Condition::kDatetimeRange: {
      ASSIGN_OR_RETURN(Bounds<Datetime> bounds, ToBounds(proto.datetime_range()));
      condition.test = InRange{bounds};
      return condition;
    }
    case v1::Condition::kContainsWords:
      condition.test = ContainsWords{proto.contains_words()};
      return condition;
    case v1::Condition::kIsEmpty:
      if (proto.is_empty()) return condition;
      return absl::InvalidArgumentError("is_empty must be true; its reverse is must_not");
    case v1::Condition::kValuesCount:
      condition.test = ValuesCount{ToBounds<int64_t>(proto.values_count())};
      return condition;
    case v1::Condition::kHasId:
      if (!proto.field().empty()) {
        return absl::InvalidArgumentError("field must be empty beside has_id");
      }
      {
        ASSIGN_OR_RETURN(std::vector<PointId> ids,
                         ToPointIds(proto.has_id().ids(), proto.has_id().uuids()));
        condition.test = HasId{std::move(ids)};
        return condition;
      }
    case v1::Condition::kFilter:
    case v1::Condition::TEST_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("asks nothing: it needs one of match, range, has_id ...");
}

}  // namespace

absl::StatusOr<FilterPtr> ToFilter(const v1::Filter& proto) {
  auto filter = std::make_shared<Filter>();
  std::vector<std::pair<const v1::Filter*, int32_t>> groups = {{&proto, Filter::kRoot}};
  const auto add = [&](const v1::Condition& condition, int32_t parent,
                       Filter::Clause clause) -> absl::Status {
    if (condition.test_case() == v1::Condition::kFilter && condition.field().empty()) {
      groups.emplace_back(&condition.filter(), filter->AddGroup(parent, clause));
      return absl::OkStatus();
    }
    absl::StatusOr<Condition> made =
        condition.test_case() == v1::Condition::kFilter
            ? absl::InvalidArgumentError("field must be empty beside filter")
            : ToCondition(condition);
    if (!made.ok()) {
      const std::string path = filter->PathOf(filter->AddGroup(parent, clause));
      return absl::InvalidArgumentError(StrCat(path, ": ", made.status().message()));
    }
    filter->Add(parent, clause, *std::move(made));
    return absl::OkStatus();
  };
  for (size_t i = 0; i < groups.size(); ++i) {
    const auto [from, group] = groups[i];
    for (const auto& each : from->must()) {
      RETURN_IF_ERROR(add(each, group, Filter::Clause::kMust));
    }
    for (const auto& each : from->should()) {
      RETURN_IF_ERROR(add(each, group, Filter::Clause::kShould));
    }
    for (const auto& each : from->must_not()) {
      RETURN_IF_ERROR(add(each, group, Filter::Clause::kMustNot));
    }
  }
  return FilterPtr(std::move(filter));
}

absl::StatusOr<PayloadIndexKind> ToKind(v1::PayloadIndexKind kind) {
  if (kind == v1::PAYLOAD_INDEX_KIND_UNSPECIFIED || !v1::PayloadIndexKind_IsValid(kind)) {
    return absl::InvalidArgumentError(
        StrCat("kind must be 1 to 6 (keyword, integer, number, boolean, datetime, text), but is ",
               static_cast<int>(kind)));
  }
  return static_cast<PayloadIndexKind>(static_cast<int>(kind) - 1);
}

static_assert(v1::PAYLOAD_INDEX_KIND_KEYWORD == static_cast<int>(PayloadIndexKind::kKeyword) + 1);
static_assert(v1::PAYLOAD_INDEX_KIND_TEXT == static_cast<int>(PayloadIndexKind::kText) + 1);

v1::PayloadIndexKind ToProto(PayloadIndexKind kind) {
  return static_cast<v1::PayloadIndexKind>(static_cast<int>(kind) + 1);
}

void ToProto(const FilterValue& value, v1::MatchValue& proto) {
  if (const auto* text = std::get_if<std::string>(&value)) {
    proto.set_text(*text);
  } else if (const auto* integer = std::get_if<int64_t>(&value)) {
    proto.set_integer(*integer);
  } else {
    proto.set_boolean(std::get<bool>(value));
  }
}

}  // namespace baton
