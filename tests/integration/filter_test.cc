// Payload indexes, filters and what uses them, over the wire.
#include <string>
#include <vector>

#include "tests/integration/client.h"

namespace baton {
namespace {

using Stub = v1::VectorService::Stub;
constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

v1::CreatePayloadIndexRequest IndexOf(const std::string& field, v1::PayloadIndexKind kind) {
  v1::CreatePayloadIndexRequest request;
  request.set_collection("pts");
  request.set_field(field);
  request.set_kind(kind);
  return request;
}

// Points 1 to 100 at (id, 0), every third one red, with their id as "n".
void FillCollection(const Client& client) {
  CreateCollection(client, "pts", 2, v1::METRIC_L2);
  Must(client.vectors, &Stub::CreatePayloadIndex, IndexOf("color", v1::PAYLOAD_INDEX_KIND_KEYWORD));
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (uint64_t id = 1; id <= 100; ++id) {
    AddPoint(upsert, id, {static_cast<float>(id), 0});
    auto& payload = *upsert.mutable_points(static_cast<int>(id) - 1)->mutable_payload();
    payload["color"].set_text(id % 3 == 0 ? "red" : "blue");
    payload["n"].set_integer(static_cast<int64_t>(id));
    payload["tags"].mutable_texts()->add_values("all");
    payload["tags"].mutable_texts()->add_values(id > 50 ? "high" : "low");
    payload["sizes"].mutable_integers()->add_values(static_cast<int64_t>(id));
  }
  Must(client.vectors, &Stub::Upsert, upsert);
  // These come late.
  Must(client.vectors, &Stub::CreatePayloadIndex, IndexOf("n", v1::PAYLOAD_INDEX_KIND_INTEGER));
  const auto described = Must(client.vectors, &Stub::CreatePayloadIndex,
                              IndexOf("tags", v1::PAYLOAD_INDEX_KIND_KEYWORD));
  REQUIRE(described.collection().payload_indexes_size() == 3);
  CHECK(described.collection().payload_indexes(1).field() == "n");
  CHECK(described.collection().payload_indexes(1).kind() == v1::PAYLOAD_INDEX_KIND_INTEGER);
}

v1::Condition ColorIs(const std::string& color) {
  v1::Condition condition;
  condition.set_field("color");
  condition.mutable_match()->set_text(color);
  return condition;
}

// Red, and n at least so much.
v1::Filter RedFrom(int64_t n) {
  v1::Filter filter;
  *filter.add_must() = ColorIs("red");
  v1::Condition& from = *filter.add_must();
  from.set_field("n");
  from.mutable_integer_range()->set_gte(n);
  return filter;
}

int64_t Count(const Client& client, const v1::Filter& filter) {
  v1::CountRequest request;
  request.set_collection("pts");
  *request.mutable_filter() = filter;
  return Must(client.vectors, &Stub::Count, request).points();
}

TEST_CASE("what a filter means holds for everything that takes one, also after a restart") {
  Daemon daemon;
  Client client(daemon);
  FillCollection(client);
  for (const bool restarted : {false, true}) {
    CAPTURE(restarted);
    if (restarted) {
      REQUIRE(daemon.Terminate() == 0);
      daemon.Start();
      client = Client(daemon);
    }
    CHECK(Count(client, RedFrom(90)) == 4);

    v1::SearchRequest search = SearchOf("pts", {60, 0}, 3);
    *search.mutable_params()->mutable_filter() = RedFrom(61);
    auto found = Must(client.vectors, &Stub::Search, search);
    CHECK(IdsOf(found.points()) == Ids{63, 66, 69});
    CHECK(found.points(0).payload().at("tags").texts().values(1) == "high");
    CHECK(found.points(0).payload().at("sizes").integers().values(0) == 63);
    search.mutable_params()->set_offset(1);
    search.mutable_params()->set_score_threshold(36);
    CHECK(IdsOf(Must(client.vectors, &Stub::Search, search).points()) == Ids{66});

    v1::ScrollRequest scroll;
    scroll.set_collection("pts");
    scroll.set_limit(3);
    *scroll.mutable_filter() = RedFrom(90);
    auto page = Must(client.vectors, &Stub::Scroll, scroll);
    CHECK(IdsOf(page.points()) == Ids{90, 93, 96});
    scroll.set_offset(page.next_offset());
    page = Must(client.vectors, &Stub::Scroll, scroll);
    CHECK(IdsOf(page.points()) == Ids{99});
    CHECK(page.next_offset().empty());

    v1::FacetRequest facet;
    facet.set_collection("pts");
    facet.set_field("tags");
    *facet.mutable_filter() = RedFrom(1);
    const auto hits = Must(client.vectors, &Stub::Facet, facet);
    REQUIRE(hits.hits_size() == 3);
    CHECK(hits.hits(0).value().text() == "all");
    CHECK(hits.hits(0).points() == 33);
    CHECK(hits.hits(1).value().text() == "high");
    CHECK(hits.hits(1).points() == 17);

    v1::SearchGroupsRequest groups;
    groups.set_collection("pts");
    groups.mutable_vector()->Add(48);
    groups.mutable_vector()->Add(0);
    groups.mutable_params()->set_k(2);
    groups.set_group_by("color");
    groups.set_group_size(2);
    const auto grouped = Must(client.vectors, &Stub::SearchGroups, groups);
    REQUIRE(grouped.groups_size() == 2);
    CHECK(grouped.groups(0).value().text() == "red");
    CHECK(IdsOf(grouped.groups(0).points()) == Ids{48, 45});
    CHECK(IdsOf(grouped.groups(1).points()) == Ids{47, 49});
  }

  v1::PatchPayloadRequest patch;
  patch.set_collection("pts");
  *patch.mutable_filter() = RedFrom(90);
  (*patch.mutable_set())["color"].set_text("green");
  patch.add_delete_keys("tags");
  CHECK(Must(client.vectors, &Stub::PatchPayload, patch).points() == 4);
  CHECK(Count(client, RedFrom(90)) == 0);
  v1::Filter green;
  *green.add_must() = ColorIs("green");
  v1::Condition& empty = *green.add_must();
  empty.set_field("tags");
  empty.set_is_empty(true);
  CHECK(Count(client, green) == 4);

  v1::DeleteRequest remove;
  remove.set_collection("pts");
  *remove.mutable_filter()->add_must_not()->mutable_filter() = green;
  CHECK(Must(client.vectors, &Stub::Delete, remove).deleted() == 96);
  CHECK(CountOf(client, "pts") == 4);

  v1::DropPayloadIndexRequest drop;
  drop.set_collection("pts");
  drop.set_field("n");
  CHECK(Must(client.vectors, &Stub::DropPayloadIndex, drop).collection().payload_indexes_size() ==
        2);
  v1::CountRequest count;
  count.set_collection("pts");
  *count.mutable_filter() = RedFrom(1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Count, count).status,
                  grpc::StatusCode::FAILED_PRECONDITION,
                  "filter.must[1]: field \"n\" of collection \"pts\" has no payload index");
}

TEST_CASE("filters and patches that are wrong are refused by name") {
  Daemon daemon;
  const Client client(daemon);
  FillCollection(client);
  v1::SearchRequest search = SearchOf("pts", {1, 1}, 1);
  v1::Filter& filter = *search.mutable_params()->mutable_filter();
  const auto refused = [&](const std::string& message) {
    CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid, message);
    filter.Clear();
  };
  filter.add_must()->set_field("color");
  refused("filter.must[0]: asks nothing");
  filter.add_should()->mutable_match();
  refused("filter.should[0]: has a value that is no text");
  filter.add_must()->set_field("n");
  filter.mutable_must(0)->mutable_match()->set_text("7");
  refused("field \"n\" is of kind integer, this condition needs keyword");
  filter.add_must()->set_field("n");
  filter.mutable_must(0)->mutable_datetime_range()->set_lt("yesterday");
  refused("filter.must[0]: datetime_range.lt must be an RFC 3339 time, but is \"yesterday\"");
  filter.add_must_not()->set_field("n");
  filter.mutable_must_not(0)->mutable_range();
  refused("filter.must_not[0] needs one of gt, gte, lt and lte");
  for (int i = 0; i < 1025; ++i) *filter.add_should() = ColorIs("red");
  refused("filter has 1025 conditions, allowed is 1024");
  v1::Filter* inner = &filter;
  for (int depth = 1; depth < 17; ++depth) inner = inner->add_must()->mutable_filter();
  *inner->add_must() = ColorIs("red");
  refused("filter is nested 17 deep or more, allowed is 16");

  v1::PatchPayloadRequest patch;
  patch.set_collection("pts");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::PatchPayload, patch).status, kInvalid,
                  "ids must be 1 to 10000, but are 0");
  patch.add_ids(1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::PatchPayload, patch).status, kInvalid,
                  "patch is empty");
  patch.mutable_filter();
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::PatchPayload, patch).status, kInvalid,
                  "both ids and a filter");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreatePayloadIndex,
                      IndexOf("x", static_cast<v1::PayloadIndexKind>(7)))
                      .status,
                  kInvalid, "kind must be 1 to 6");
  v1::ScrollRequest scroll;
  scroll.set_collection("pts");
  scroll.set_offset("100");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Scroll, scroll).status, kInvalid, "next_offset");
  search.mutable_params()->set_offset(10'000);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid,
                  "params.offset must be 0 to 9999");
  CHECK(CountOf(client, "pts") == 100);
}

}  // namespace
}  // namespace baton
