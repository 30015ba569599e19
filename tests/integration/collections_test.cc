// Collections with named vectors over the wire.
#include <string>
#include <vector>

#include "tests/integration/client.h"

namespace baton {
namespace {

using Stub = v1::VectorService::Stub;

v1::CreateCollectionRequest NamedRequest() {
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("media");
  v1::NamedVectorSpec& image = *create.mutable_spec()->add_vectors();
  image.set_name("image");
  image.set_dimension(2);
  image.set_metric(v1::METRIC_L2);
  v1::NamedVectorSpec& text = *create.mutable_spec()->add_vectors();
  text.set_name("text");
  text.set_dimension(3);
  text.set_metric(v1::METRIC_DOT);
  text.set_storage(v1::VECTOR_STORAGE_F16);
  return create;
}

void AddNamed(v1::Point& point, const std::string& name, const std::vector<float>& values) {
  v1::NamedVector& vector = *point.add_vectors();
  vector.set_name(name);
  vector.mutable_values()->Add(values.begin(), values.end());
}

TEST_CASE("points are written, read and found by named vectors") {
  Daemon daemon;
  v1::UpsertRequest upsert;
  upsert.set_collection("media");
  for (uint64_t id = 1; id <= 4; ++id) {
    v1::Point& point = *upsert.add_points();
    point.set_id(id);
    const auto value = static_cast<float>(id);
    if (id != 3) AddNamed(point, "image", {value, 0});
    if (id != 4) AddNamed(point, "text", {0, value, 1});
  }
  {
    const Client client(daemon);
    const v1::CollectionInfo info =
        Must(client.vectors, &Stub::CreateCollection, NamedRequest()).collection();
    REQUIRE(info.spec().vectors_size() == 2);
    CHECK(info.spec().vectors(1).storage() == v1::VECTOR_STORAGE_F16);
    CHECK(info.spec().dimension() == 0);
    CHECK(Must(client.vectors, &Stub::Upsert, upsert).points() == 4);
  }
  daemon.Kill9();
  daemon.Start();
  const Client client(daemon);

  v1::SearchRequest search = SearchOf("media", {1.9f, 0}, 10);
  search.set_vector_name("image");
  search.mutable_params()->set_with_vectors(true);
  v1::SearchResponse found = Must(client.vectors, &Stub::Search, search);
  REQUIRE(found.points_size() == 3);  // point 3 lacks it
  CHECK(found.points(0).id() == 2);
  REQUIRE(found.points(0).vectors_size() == 2);
  CHECK(found.points(0).vectors(0).name() == "image");
  CHECK(found.points(0).vectors(0).values(0) == 2);

  v1::SearchBatchRequest batch;
  batch.set_collection("media");
  batch.set_vector_name("text");
  batch.add_queries()->mutable_vector()->Add(0);
  batch.mutable_queries(0)->mutable_vector()->Add(1);
  batch.mutable_queries(0)->mutable_vector()->Add(0);
  batch.mutable_params()->set_k(1);
  CHECK(Must(client.vectors, &Stub::SearchBatch, batch).results(0).points(0).id() == 3);

  v1::SearchRangeRequest range;
  range.set_collection("media");
  range.set_vector_name("image");
  range.mutable_vector()->Add(1);
  range.mutable_vector()->Add(0);
  range.set_score_threshold(1.5f);
  CHECK(Must(client.vectors, &Stub::SearchRange, range).points_size() == 2);

  v1::DescribeCollectionRequest describe;
  describe.set_collection("media");
  const v1::CollectionInfo info =
      Must(client.vectors, &Stub::DescribeCollection, describe).collection();
  CHECK(info.points() == 4);
  REQUIRE(info.vectors_size() == 2);
  CHECK(info.vectors(0).points() == 3);

  // An upsert replaces the whole point.
  v1::UpsertRequest replace;
  replace.set_collection("media");
  replace.add_points()->set_id(2);
  Must(client.vectors, &Stub::Upsert, replace);
  found = Must(client.vectors, &Stub::Search, search);
  CHECK(found.points_size() == 2);
}

TEST_CASE("named vectors arrive by a stream of upserts") {
  Daemon daemon;
  const Client client(daemon);
  Must(client.vectors, &Stub::CreateCollection, NamedRequest());
  CallContext context;
  const auto stream = client.vectors->UpsertStream(&context);
  for (uint64_t id = 1; id <= 20; ++id) {
    v1::UpsertRequest upsert;
    upsert.set_collection("media");
    v1::Point& point = *upsert.add_points();
    point.set_id(id);
    const auto value = static_cast<float>(id);
    if (id % 2 == 0) AddNamed(point, "image", {value, 0});
    AddNamed(point, "text", {0, value, 1});
    REQUIRE(stream->Write(upsert));
  }
  v1::UpsertRequest bad;
  bad.set_collection("media");
  bad.add_points()->set_id(21);
  AddNamed(*bad.mutable_points(0), "text", {1, 2});
  REQUIRE(stream->Write(bad));
  stream->WritesDone();
  v1::UpsertResponse response;
  for (int i = 0; i < 20; ++i) REQUIRE(stream->Read(&response));
  CHECK_FALSE(stream->Read(&response));
  CHECK_RPC_ERROR(stream->Finish(), grpc::StatusCode::INVALID_ARGUMENT,
                  "points[0].vectors[0].values has 2 values");
  CHECK(CountOf(client, "media") == 20);
  v1::SearchRequest search = SearchOf("media", {7.1f, 0}, 2);
  search.set_vector_name("image");
  CHECK(IdsOf(Must(client.vectors, &Stub::Search, search).points()) == Ids{8, 6});
}

TEST_CASE("a question is compared with a named vector where it asks for one") {
  Daemon daemon;
  const Client client(daemon);
  v1::IngestRequest ingest =
      IngestOf("pages", {{"gate.md", "The gate of the harbour is painted green every spring."},
                         {"bell.md", "The bell of the school was cast in copper by a smith."}});
  Must(client.rag, &v1::RagService::Stub::Ingest, ingest);
  v1::ScrollRequest scroll;
  scroll.set_collection("pages");
  scroll.set_with_vectors(true);
  const v1::ScrollResponse pages = Must(client.vectors, &Stub::Scroll, scroll);
  REQUIRE(pages.points_size() == 2);
  v1::DescribeCollectionRequest describe;
  describe.set_collection("pages");
  const v1::CollectionInfo info =
      Must(client.vectors, &Stub::DescribeCollection, describe).collection();

  // The same pages, their vectors under a name, beside one that no model made.
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("named");
  v1::NamedVectorSpec& body = *create.mutable_spec()->add_vectors();
  body.set_name("body");
  body.set_dimension(info.spec().dimension());
  body.set_embedder(info.embedder());
  v1::NamedVectorSpec& other = *create.mutable_spec()->add_vectors();
  other.set_name("other");
  other.set_dimension(2);
  Must(client.vectors, &Stub::CreateCollection, create);
  v1::UpsertRequest upsert;
  upsert.set_collection("named");
  for (const v1::Point& page : pages.points()) {
    v1::Point& point = *upsert.add_points();
    point = page;
    point.clear_vector();
    AddNamed(point, "body", {page.vector().begin(), page.vector().end()});
    AddNamed(point, "other", {1, 0});
  }
  Must(client.vectors, &Stub::Upsert, upsert);

  v1::AskRequest ask = AskOf("named", "What was the bell cast in?");
  ask.set_vector_name("body");
  const Asked asked = Ask(client, ask);
  REQUIRE_RPC_OK(asked.status);
  REQUIRE(!asked.passages.empty());
  CHECK(asked.passages[0].document_id() == "bell.md");
  REQUIRE(asked.finished.citations_size() > 0);
  CHECK(asked.finished.citations(0).document_id() == "bell.md");

  ask.set_vector_name("other");
  CHECK_RPC_ERROR(Ask(client, ask).status, grpc::StatusCode::FAILED_PRECONDITION,
                  "was created without an embedder");
  ask.set_vector_name("nothing");
  CHECK_RPC_ERROR(Ask(client, ask).status, grpc::StatusCode::INVALID_ARGUMENT,
                  "has no vector of that name");
  ask.clear_vector_name();
  CHECK(!Ask(client, ask).status.ok());  // there is no unnamed one
}

TEST_CASE("what is wrong with named vectors is said by name") {
  Daemon daemon;
  const Client client(daemon);
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  auto create = NamedRequest();
  create.mutable_spec()->mutable_vectors(1)->set_name("image");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreateCollection, create).status, kInvalid,
                  "vectors[1].name is \"image\", which another vector has");
  create.mutable_spec()->mutable_vectors(1)->set_name("te xt");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreateCollection, create).status, kInvalid,
                  "vectors[1].name may hold only");
  create = NamedRequest();
  create.mutable_spec()->mutable_vectors(0)->set_metric(static_cast<v1::Metric>(7));
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreateCollection, create).status, kInvalid,
                  "spec.vectors[0].metric must be 1 to 3");
  for (int i = 0; i < 20; ++i) create.mutable_spec()->add_vectors()->set_dimension(1);
  create.mutable_spec()->mutable_vectors(0)->set_metric(v1::METRIC_L2);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreateCollection, create).status, kInvalid,
                  "vector.named_vectors_max is 16");
  Must(client.vectors, &Stub::CreateCollection, NamedRequest());

  v1::SearchRequest search = SearchOf("media", {1, 0}, 1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid,
                  "vector_name is missing");
  search.set_vector_name("sound");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid,
                  "vector_name is \"sound\"");
  search.set_vector_name("text");
  CHECK_RPC_ERROR(
      Try(client.vectors, &Stub::Search, search).status, kInvalid,
      "query has 2 values, but vector \"text\" of collection \"media\" has dimension 3");
  v1::ClusterRequest cluster;
  cluster.set_collection("media");
  cluster.set_k(1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Cluster, cluster).status, kInvalid,
                  "vector_name is missing");
  v1::UpsertRequest upsert;
  upsert.set_collection("media");
  AddPoint(upsert, 1, {1, 2});
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Upsert, upsert).status, kInvalid,
                  "has named vectors only");
}

TEST_CASE("a tenant's points are searched, counted and deleted alone") {
  Daemon daemon;
  const Client client(daemon);
  constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("shared");
  create.mutable_spec()->set_dimension(1);
  create.mutable_spec()->set_metric(v1::METRIC_L2);
  create.mutable_spec()->set_partition_key("tenant");
  const v1::CollectionInfo info =
      Must(client.vectors, &Stub::CreateCollection, create).collection();
  CHECK(info.spec().partition_key() == "tenant");
  REQUIRE(info.payload_indexes_size() == 1);
  CHECK(info.payload_indexes(0).field() == "tenant");
  v1::UpsertRequest upsert;
  upsert.set_collection("shared");
  for (uint64_t id = 0; id < 10; ++id) {
    AddPoint(upsert, id, {static_cast<float>(id)});
    (*upsert.mutable_points(static_cast<int>(id))->mutable_payload())["tenant"].set_text(
        id % 2 == 0 ? "even" : "odd");
  }
  Must(client.vectors, &Stub::Upsert, upsert);

  v1::SearchRequest search = SearchOf("shared", {4}, 10);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid,
                  "partition is missing");
  search.mutable_params()->set_partition("odd");
  v1::SearchResponse found = Must(client.vectors, &Stub::Search, search);
  REQUIRE(found.points_size() == 5);
  CHECK(found.points(0).id() == 3);
  search.mutable_params()->set_all_partitions(true);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, search).status, kInvalid,
                  "both partition and all_partitions");
  search.mutable_params()->clear_partition();
  CHECK(Must(client.vectors, &Stub::Search, search).points_size() == 10);

  v1::CountRequest count;
  count.set_collection("shared");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Count, count).status, kInvalid,
                  "partition is missing");
  count.set_partition("even");
  CHECK(Must(client.vectors, &Stub::Count, count).points() == 5);
  v1::ScrollRequest scroll;
  scroll.set_collection("shared");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Scroll, scroll).status, kInvalid,
                  "partition is missing");
  scroll.set_partition("odd");
  CHECK(Must(client.vectors, &Stub::Scroll, scroll).points_size() == 5);
  v1::FacetRequest facet;
  facet.set_collection("shared");
  facet.set_field("tenant");
  facet.set_all_partitions(true);
  CHECK(Must(client.vectors, &Stub::Facet, facet).hits_size() == 2);
  v1::SearchGroupsRequest groups;
  groups.set_collection("shared");
  groups.mutable_vector()->Add(0);
  groups.mutable_params()->set_k(2);
  groups.set_group_by("tenant");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::SearchGroups, groups).status, kInvalid,
                  "partition is missing");
  v1::ClusterRequest cluster;
  cluster.set_collection("shared");
  cluster.set_k(1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Cluster, cluster).status, kInvalid,
                  "all_partitions is missing");

  v1::DeleteRequest deletion;
  deletion.set_collection("shared");
  deletion.mutable_filter();
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Delete, deletion).status, kInvalid,
                  "partition is missing");
  deletion.clear_filter();
  deletion.set_partition("odd");
  CHECK(Must(client.vectors, &Stub::Delete, deletion).deleted() == 5);
  deletion.add_ids(2);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Delete, deletion).status, kInvalid,
                  "both ids and a partition");
  CHECK(Must(client.vectors, &Stub::Count, count).points() == 5);

  count.set_collection("shared");
  create.mutable_spec()->set_name("plain");
  create.mutable_spec()->clear_partition_key();
  Must(client.vectors, &Stub::CreateCollection, create);
  count.set_collection("plain");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Count, count).status, kInvalid,
                  "has no partition key");
}

}  // namespace
}  // namespace baton
