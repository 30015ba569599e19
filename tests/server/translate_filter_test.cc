#include "server/translate_filter.h"

#include <catch2/catch.hpp>
#include <string>
#include <variant>

#include "server/translate.h"
#include "server/translate_vector.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("every condition of a filter") {
  v1::Filter proto;
  const auto add = [&proto](const std::string& field) {
    v1::Condition* condition = proto.add_must();
    condition->set_field(field);
    return condition;
  };
  add("a")->mutable_match()->set_integer(7);
  add("b")->mutable_match_any()->add_values()->set_text("x");
  add("c")->mutable_match_except()->add_values()->set_boolean(true);
  add("d")->mutable_range()->set_gte(0.5);
  add("e")->mutable_integer_range()->set_lt(-3);
  add("f")->mutable_datetime_range()->set_lte("1970-01-01T00:00:01Z");
  add("g")->set_contains_words("some words");
  add("h")->set_is_empty(true);
  add("i")->mutable_values_count()->set_gt(1);
  add("")->mutable_has_id()->add_ids(9);
  add("")->mutable_filter()->add_must_not()->set_field("j");
  proto.mutable_must(10)->mutable_filter()->mutable_must_not(0)->set_is_empty(true);
  const auto filter = ToFilter(proto);
  REQUIRE_OK(filter);
  const auto nodes = (*filter)->nodes();
  REQUIRE(nodes.size() == 13);
  const auto test = [&nodes](size_t node) { return nodes[node].condition->test; };
  CHECK(nodes[1].condition->field == "a");
  CHECK(std::get<Match>(test(1)).any == std::vector<FilterValue>{int64_t{7}});
  CHECK(!std::get<Match>(test(2)).except);
  CHECK(std::get<Match>(test(3)).except);
  CHECK(std::get<Bounds<double>>(std::get<InRange>(test(4)).bounds).gte == 0.5);
  CHECK(std::get<Bounds<int64_t>>(std::get<InRange>(test(5)).bounds).lt == -3);
  CHECK(std::get<Bounds<Datetime>>(std::get<InRange>(test(6)).bounds).lte->us == 1'000'000);
  CHECK(std::get<ContainsWords>(test(7)).words == "some words");
  CHECK(std::holds_alternative<IsEmpty>(test(8)));
  CHECK(std::get<ValuesCount>(test(9)).bounds.gt == 1);
  CHECK(std::get<HasId>(test(10)).ids == std::vector<PointId>{9});
  CHECK(!nodes[11].condition.has_value());
  CHECK(nodes[12].parent == 11);
  CHECK(nodes[12].clause == Filter::Clause::kMustNot);
}

TEST_CASE("a filter as deep as protobuf reads is translated, and refused by its limits") {
  v1::Filter proto;
  v1::Filter* inner = &proto;
  for (int depth = 0; depth < 49; ++depth) inner = inner->add_should()->mutable_filter();
  v1::Filter read;
  REQUIRE(read.ParseFromString(proto.SerializeAsString()));
  const auto filter = ToFilter(read);
  REQUIRE_OK(filter);
  REQUIRE_STATUS((*filter)->Check({.conditions_max = 100, .depth_max = 16, .values_max = 1}),
                 kInvalid, "nested 17 deep or more, allowed is 16");
}

TEST_CASE("conditions that say nothing are named") {
  const auto refused = [](const v1::Condition& condition, const std::string& message) {
    v1::Filter filter;
    filter.add_should()->set_is_empty(true);
    filter.mutable_should(0)->set_field("x");
    *filter.add_should() = condition;
    REQUIRE_STATUS(ToFilter(filter), kInvalid, message);
  };
  v1::Condition condition;
  refused(condition, "filter.should[1]: asks nothing");
  condition.mutable_filter();
  condition.set_field("x");
  refused(condition, "filter.should[1]: field must be empty beside filter");
  condition.mutable_has_id();
  refused(condition, "field must be empty beside has_id");
  condition.set_is_empty(false);
  refused(condition, "is_empty must be true");
  condition.mutable_match_any()->add_values();
  refused(condition, "has a value that is no text, integer or boolean");
  condition.mutable_datetime_range()->set_gt("noon");
  refused(condition, "datetime_range.gt must be an RFC 3339 time, but is \"noon\"");
}

TEST_CASE("pages, choices and kinds") {
  v1::ScrollResponse page;
  ToProto(ScrollResult{.points = {}, .next = UINT64_MAX}, page);
  v1::ScrollRequest scroll;
  scroll.set_collection("c");
  scroll.set_offset(page.next_offset());
  const auto next = ToScroll(scroll);
  REQUIRE_OK(next);
  CHECK(next->first == UINT64_MAX);
  for (const std::string offset : {"7", "id-", "id-x", "id-1g", "id-10000000000000000"}) {
    scroll.set_offset(offset);
    REQUIRE_STATUS(ToScroll(scroll), kInvalid, "offset must be the next_offset");
  }
  scroll.clear_offset();
  scroll.set_limit(0);
  REQUIRE_STATUS(ToScroll(scroll), kInvalid, "limit must be 1 to 10000");

  v1::DeleteRequest remove;
  remove.set_collection("c");
  REQUIRE_STATUS(ToDelete(remove, {}), kInvalid, "ids must be 1 to 10000, but are 0");
  remove.mutable_filter();
  REQUIRE_OK(ToDelete(remove, {}));
  remove.add_ids(1);
  REQUIRE_STATUS(ToDelete(remove, {}), kInvalid, "both ids and a filter");

  REQUIRE_STATUS(ToKind(v1::PAYLOAD_INDEX_KIND_UNSPECIFIED), kInvalid, "kind must be 1 to 6");
  CHECK(*ToKind(v1::PAYLOAD_INDEX_KIND_DATETIME) == PayloadIndexKind::kDatetime);
  CHECK(ToProto(PayloadIndexKind::kText) == v1::PAYLOAD_INDEX_KIND_TEXT);
}

TEST_CASE("lists in payloads come and go") {
  const Payload payload = {{"texts", std::vector<std::string>{"a", ""}},
                           {"none", std::vector<std::string>()},
                           {"integers", std::vector<int64_t>{-1, 2}},
                           {"zero", std::vector<int64_t>()}};
  v1::Point point;
  ToProto(Payload(payload), *point.mutable_payload());
  v1::Point read;
  REQUIRE(read.ParseFromString(point.SerializeAsString()));
  const auto back = ToPayload(read.payload(), "payload");
  REQUIRE_OK(back);
  CHECK(*back == payload);
}

}  // namespace
}  // namespace baton
