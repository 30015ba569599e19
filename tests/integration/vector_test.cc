// Collections of points over the wire, and what a crash leaves of them.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <deque>
#include <future>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "tests/integration/client.h"
#include "tests/support/eventually.h"

namespace baton {
namespace {

using Floats = std::vector<float>;

v1::SearchResponse Search(const Client& client, const v1::SearchRequest& request) {
  return Must(client.vectors, &v1::VectorService::Stub::Search, request);
}

v1::CollectionInfo Describe(const Client& client, const std::string& name) {
  v1::DescribeCollectionRequest request;
  request.set_collection(name);
  return Must(client.vectors, &v1::VectorService::Stub::DescribeCollection, request).collection();
}

template <class Request>
Request On(const std::string& collection, std::initializer_list<uint64_t> ids = {}) {
  Request request;
  request.set_collection(collection);
  if constexpr (requires { request.add_ids(0); }) {
    for (const uint64_t id : ids) request.add_ids(id);
  }
  return request;
}

TEST_CASE("vectors are stored as the collection says") {
  using Stub = v1::VectorService::Stub;
  Daemon daemon;
  const Client client(daemon);
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("bytes");
  create.mutable_spec()->set_dimension(2);
  create.mutable_spec()->set_metric(v1::METRIC_L2);
  create.mutable_spec()->set_storage(static_cast<v1::VectorStorage>(9));
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::CreateCollection, create).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "spec.storage must be 1 to 4");
  create.mutable_spec()->set_storage(v1::VECTOR_STORAGE_INT8);
  CHECK(Must(client.vectors, &Stub::CreateCollection, create).collection().spec().storage() ==
        v1::VECTOR_STORAGE_INT8);
  auto upsert = On<v1::UpsertRequest>("bytes");
  AddPoint(upsert, 1, {1.4f, -128});
  Must(client.vectors, &Stub::Upsert, upsert);
  upsert.mutable_points(0)->set_vector(1, 128);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Upsert, upsert).status,
                  grpc::StatusCode::INVALID_ARGUMENT,
                  "points[0].vector[1] is 128, allowed is -128 to 127");
  auto get = On<v1::GetRequest>("bytes", {1});
  get.set_with_vectors(true);
  const v1::GetResponse got = Must(client.vectors, &Stub::Get, get);
  CHECK(Floats(got.points(0).vector().begin(), got.points(0).vector().end()) == Floats{1, -128});
  CHECK(Search(client, SearchOf("bytes", {1.5f, -128}, 1)).points(0).score() == 0.25f);
  CreateCollection(client, "floats", 2);
  CHECK(Describe(client, "floats").spec().storage() == v1::VECTOR_STORAGE_F32);
}

TEST_CASE("ids of points may be UUIDs") {
  using Stub = v1::VectorService::Stub;
  constexpr char kUuid[] = "f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
  Daemon daemon;
  const Client client(daemon);
  CreateCollection(client, "mixed", 1, v1::METRIC_L2);
  v1::CreatePayloadIndexRequest index;
  index.set_collection("mixed");
  index.set_field("note");
  index.set_kind(v1::PAYLOAD_INDEX_KIND_KEYWORD);
  Must(client.vectors, &Stub::CreatePayloadIndex, index);
  auto upsert = On<v1::UpsertRequest>("mixed");
  AddPoint(upsert, 7, {1}, "number");
  AddPoint(upsert, 0, {1}, "uuid");
  upsert.mutable_points(1)->set_uuid("URN:UUID:F81D4FAE7DEC11D0A76500A0C91E6BF6");
  Must(client.vectors, &Stub::Upsert, upsert);
  auto wrong = upsert;
  wrong.mutable_points(1)->set_id(3);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::Upsert, wrong).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "both an id, 3, and points[1].uuid");
  wrong.mutable_points(1)->set_id(0);
  for (const char* text : {"x", "00000000-0000-0000-0000-000000000000"}) {
    wrong.mutable_points(1)->set_uuid(text);
    CHECK_RPC_ERROR(Try(client.vectors, &Stub::Upsert, wrong).status,
                    grpc::StatusCode::INVALID_ARGUMENT, "points[1].uuid must be a UUID");
  }

  v1::SearchRequest search = SearchOf("mixed", {1}, 5);
  v1::SearchResponse found = Search(client, search);
  REQUIRE(found.points_size() == 2);  // of one score: numbers first
  CHECK(found.points(0).id() == 7);
  CHECK(found.points(0).uuid().empty());
  CHECK(found.points(1).id() == 0);
  CHECK(found.points(1).uuid() == kUuid);
  CHECK(found.points(1).payload().at("note").text() == "uuid");
  search.mutable_params()->mutable_filter()->add_must()->mutable_has_id()->add_uuids(kUuid);
  found = Search(client, search);
  REQUIRE(found.points_size() == 1);
  CHECK(found.points(0).uuid() == kUuid);

  auto scroll = On<v1::ScrollRequest>("mixed");
  scroll.set_limit(1);
  v1::ScrollResponse page = Must(client.vectors, &Stub::Scroll, scroll);
  CHECK(page.points(0).id() == 7);
  scroll.set_offset(page.next_offset());
  page = Must(client.vectors, &Stub::Scroll, scroll);
  CHECK(page.points(0).uuid() == kUuid);
  CHECK(page.next_offset().empty());

  auto get = On<v1::GetRequest>("mixed", {7});
  get.add_uuids(kUuid);
  const v1::GetResponse got = Must(client.vectors, &Stub::Get, get);
  REQUIRE(got.points_size() == 2);
  CHECK(got.points(1).uuid() == kUuid);
  auto patch = On<v1::PatchPayloadRequest>("mixed");
  patch.add_uuids(kUuid);
  (*patch.mutable_set())["note"].set_text("patched");
  CHECK(Must(client.vectors, &Stub::PatchPayload, patch).points() == 1);
  v1::SearchGroupsRequest groups;
  groups.set_collection("mixed");
  groups.add_vector(1);
  groups.mutable_params()->set_k(5);
  groups.set_group_by("note");
  const auto grouped = Must(client.vectors, &Stub::SearchGroups, groups);
  REQUIRE(grouped.groups_size() == 2);
  CHECK(grouped.groups(1).value().text() == "patched");
  CHECK(grouped.groups(1).points(0).uuid() == kUuid);
  v1::ClusterRequest cluster;
  cluster.set_collection("mixed");
  cluster.set_k(1);
  cluster.set_with_assignment(true);
  const auto clustered = Must(client.vectors, &Stub::Cluster, cluster);
  REQUIRE(clustered.ids_size() == 2);
  REQUIRE(clustered.uuids_size() == 2);
  CHECK(clustered.uuids(clustered.ids(0) == 7 ? 1 : 0) == kUuid);
  auto remove = On<v1::DeleteRequest>("mixed");
  remove.add_uuids(kUuid);
  CHECK(Must(client.vectors, &Stub::Delete, remove).deleted() == 1);
  CHECK(CountOf(client, "mixed") == 1);
}

v1::AliasAction SetAlias(const std::string& alias, const std::string& collection) {
  v1::AliasAction action;
  action.mutable_create()->set_alias(alias);
  action.mutable_create()->set_collection(collection);
  return action;
}

TEST_CASE("aliases stand for collections") {
  using Stub = v1::VectorService::Stub;
  Daemon daemon;
  const Client client(daemon);
  for (const char* name : {"one", "two"}) {
    CreateCollection(client, name, 1, v1::METRIC_L2);
    auto upsert = On<v1::UpsertRequest>(name);
    AddPoint(upsert, 1, {1}, name);
    Must(client.vectors, &Stub::Upsert, upsert);
  }
  v1::UpdateAliasesRequest update;
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::UpdateAliases, update).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "actions");
  *update.add_actions() = SetAlias("live", "one");
  update.add_actions();
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::UpdateAliases, update).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "actions[1] is empty");
  *update.mutable_actions(1) = SetAlias("old", "none");
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::UpdateAliases, update).status,
                  grpc::StatusCode::NOT_FOUND, "actions[1].collection");
  CHECK(Must(client.vectors, &Stub::ListAliases, {}).aliases().empty());
  *update.mutable_actions(1) = SetAlias("old", "two");
  CHECK(Must(client.vectors, &Stub::UpdateAliases, update).aliases_size() == 2);

  CHECK(Search(client, SearchOf("live", {1}, 1)).points(0).payload().at("note").text() == "one");
  auto upsert = On<v1::UpsertRequest>("live");
  AddPoint(upsert, 2, {2}, "more");
  Must(client.vectors, &Stub::Upsert, upsert);
  CHECK(CountOf(client, "one") == 2);
  CHECK(Must(client.vectors, &Stub::Get, On<v1::GetRequest>("live", {2})).points_size() == 1);
  CHECK(Must(client.vectors, &Stub::Scroll, On<v1::ScrollRequest>("live")).points_size() == 2);
  CHECK(Must(client.vectors, &Stub::Delete, On<v1::DeleteRequest>("live", {2})).deleted() == 1);
  const v1::CollectionInfo info = Describe(client, "live");
  CHECK(info.spec().name() == "one");
  REQUIRE(info.aliases_size() == 1);
  CHECK(info.aliases(0) == "live");
  CHECK_RPC_ERROR(
      Try(client.vectors, &Stub::DropCollection, On<v1::DropCollectionRequest>("live")).status,
      grpc::StatusCode::FAILED_PRECONDITION, "\"live\" is an alias");

  update.clear_actions();
  *update.add_actions() = SetAlias("live", "two");
  update.add_actions()->mutable_rename()->set_alias("old");
  update.mutable_actions(1)->mutable_rename()->set_new_alias("older");
  Must(client.vectors, &Stub::UpdateAliases, update);
  CHECK(Search(client, SearchOf("live", {1}, 1)).points(0).payload().at("note").text() == "two");
  CHECK(Must(client.vectors, &Stub::ListAliases, On<v1::ListAliasesRequest>("older"))
            .aliases_size() == 2);
  CHECK(Must(client.vectors, &Stub::ListAliases, On<v1::ListAliasesRequest>("one"))
            .aliases()
            .empty());
  Must(client.vectors, &Stub::DropCollection, On<v1::DropCollectionRequest>("two"));
  CHECK(Must(client.vectors, &Stub::ListAliases, {}).aliases().empty());
}

TEST_CASE("a collection from its creation to its end") {
  Daemon daemon;
  const Client client(daemon);
  CreateCollection(client, "pts", 3, v1::METRIC_L2);
  v1::CreateCollectionRequest again;
  again.mutable_spec()->set_name("pts");
  again.mutable_spec()->set_dimension(3);
  CHECK_RPC_ERROR(Try(client.vectors, &v1::VectorService::Stub::CreateCollection, again).status,
                  grpc::StatusCode::ALREADY_EXISTS, "\"pts\"");

  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  AddPoint(upsert, 7, {1, 0, 0}, "first");
  AddPoint(upsert, 8, {0, 2, 0}, "second");
  AddPoint(upsert, 9, {0, 0, 3});
  AddPoint(upsert, 7, {1, 0, 0.5f}, "the last of several wins");
  auto& payload = *upsert.mutable_points(1)->mutable_payload();
  payload["count"].set_integer(-5);
  payload["weight"].set_number(0.25);
  payload["open"].set_boolean(true);
  const v1::UpsertResponse upserted =
      Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  CHECK(upserted.points() == 3);
  CHECK(CheckedStages(upserted.timings()) == std::vector<std::string>{"write"});
  CHECK(CountOf(client, "pts") == 3);

  auto get = On<v1::GetRequest>("pts", {9, 1000, 8, 7});
  get.set_with_vectors(true);
  const v1::GetResponse got = Must(client.vectors, &v1::VectorService::Stub::Get, get);
  REQUIRE(got.points_size() == 3);  // in the order asked, without the one that is not there
  CHECK(got.points(0).id() == 9);
  CHECK(got.points(0).payload().empty());
  CHECK(got.points(1).payload().at("note").text() == "second");
  CHECK(got.points(1).payload().at("count").integer() == -5);
  CHECK(got.points(1).payload().at("weight").number() == 0.25);
  CHECK(got.points(1).payload().at("open").boolean());
  CHECK(got.points(2).payload().at("note").text() == "the last of several wins");
  CHECK(Floats(got.points(2).vector().begin(), got.points(2).vector().end()) == Floats{1, 0, 0.5f});

  v1::SearchRequest search = SearchOf("pts", {0, 0, 2}, 2);
  search.mutable_params()->set_with_payload(false);
  search.mutable_params()->set_with_vectors(true);
  const v1::SearchResponse found = Search(client, search);
  REQUIRE(found.points_size() == 2);
  CHECK(found.points(0).id() == 9);
  CHECK(found.points(0).score() == Approx(1));
  CHECK(found.points(0).vector(2) == 3);
  CHECK(found.points(1).payload().empty());
  CHECK(CheckedStages(found.timings()) == std::vector<std::string>{"search"});

  CHECK(Must(client.vectors, &v1::VectorService::Stub::Delete,
             On<v1::DeleteRequest>("pts", {7, 8, 1000}))
            .deleted() == 2);
  CHECK(CountOf(client, "pts") == 1);
  CHECK(Describe(client, "pts").points() == 1);
  const auto listed = Must(client.vectors, &v1::VectorService::Stub::ListCollections, {});
  REQUIRE(listed.collections_size() == 1);
  CHECK(listed.collections(0).spec().metric() == v1::METRIC_L2);
  CHECK(listed.collections(0).embedder().empty());

  Must(client.vectors, &v1::VectorService::Stub::DropCollection,
       On<v1::DropCollectionRequest>("pts"));
  CHECK_RPC_ERROR(Try(client.vectors, &v1::VectorService::Stub::Search, search).status,
                  grpc::StatusCode::NOT_FOUND, "\"pts\"");
  CHECK(Must(client.vectors, &v1::VectorService::Stub::ListCollections, {}).collections().empty());
}

TEST_CASE("scores are what each metric says, by graph and exactly, one by one and in bulk") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  constexpr int kDimension = 8;
  constexpr int kPoints = 300;
  const auto draw = [&] {
    Floats vector(kDimension);
    std::generate(vector.begin(), vector.end(), [&] { return normal(random); });
    return vector;
  };
  std::vector<Floats> points;
  for (int i = 0; i < kPoints; ++i) points.push_back(draw());

  Daemon daemon({"--vector.seal_points=64"});
  const Client client(daemon);
  const auto score = [](v1::Metric metric, const Floats& a, const Floats& b) {
    double dot = 0, aa = 0, bb = 0, l2 = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      dot += double{a[i]} * b[i];
      aa += double{a[i]} * a[i];
      bb += double{b[i]} * b[i];
      l2 += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    }
    return metric == v1::METRIC_L2 ? l2 : metric == v1::METRIC_DOT ? dot : dot / std::sqrt(aa * bb);
  };
  for (const v1::Metric metric : {v1::METRIC_COSINE, v1::METRIC_DOT, v1::METRIC_L2}) {
    const std::string name = v1::Metric_Name(metric);
    CAPTURE(name);
    CreateCollection(client, name, kDimension, metric);
    v1::UpsertRequest upsert;
    upsert.set_collection(name);
    for (int i = 0; i < kPoints; ++i) AddPoint(upsert, static_cast<uint64_t>(i), points[i]);
    Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
    REQUIRE(Eventually([&] { return Describe(client, name).segments() >= 1; }));

    v1::SearchBatchRequest batch;
    batch.set_collection(name);
    batch.mutable_params()->set_k(5);
    batch.mutable_params()->set_ef(200);
    for (int q = 0; q < 10; ++q) {
      const Floats query = draw();
      std::vector<std::pair<double, uint64_t>> expected;
      for (int i = 0; i < kPoints; ++i) {
        const double s = score(metric, query, points[i]);
        expected.emplace_back(metric == v1::METRIC_L2 ? s : -s, i);
      }
      std::sort(expected.begin(), expected.end());
      for (const bool exact : {true, false}) {
        CAPTURE(exact);
        v1::SearchRequest request = SearchOf(name, query, 5, exact);
        request.mutable_params()->set_ef(200);
        const v1::SearchResponse found = Search(client, request);
        REQUIRE(found.points_size() == 5);
        for (int i = 0; i < 5; ++i) {
          CHECK(found.points(i).id() == expected[i].second);
          CHECK(found.points(i).score() ==
                Approx(metric == v1::METRIC_L2 ? expected[i].first : -expected[i].first)
                    .epsilon(1e-4)
                    .margin(1e-5));
        }
      }
      batch.add_queries()->mutable_vector()->Add(query.begin(), query.end());
    }
    const auto bulk = Must(client.vectors, &v1::VectorService::Stub::SearchBatch, batch);
    REQUIRE(bulk.results_size() == 10);
    for (int q = 0; q < 10; ++q) {
      const auto& vector = batch.queries(q).vector();
      v1::SearchRequest request = SearchOf(name, Floats(vector.begin(), vector.end()), 5);
      request.mutable_params()->set_ef(200);
      const v1::SearchResponse alone = Search(client, request);
      REQUIRE(bulk.results(q).points_size() == 5);
      for (int i = 0; i < 5; ++i) CHECK(bulk.results(q).points(i).id() == alone.points(i).id());
    }
  }
}

TEST_CASE("a collection of inverted files") {
  Daemon daemon({"--vector.seal_points=64"});
  const Client client(daemon);
  v1::CreateCollectionRequest create;
  create.mutable_spec()->set_name("pts");
  create.mutable_spec()->set_dimension(4);
  create.mutable_spec()->set_metric(v1::METRIC_L2);
  create.mutable_spec()->set_index(v1::INDEX_KIND_IVF_PQ);
  create.mutable_spec()->set_ivf_lists(5);
  Must(client.vectors, &v1::VectorService::Stub::CreateCollection, create);
  CHECK(Describe(client, "pts").spec().index() == v1::INDEX_KIND_IVF_PQ);
  CHECK(Describe(client, "pts").spec().ivf_lists() == 5);
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (uint64_t id = 0; id < 300; ++id) {
    AddPoint(upsert, id, {static_cast<float>(id), 0, static_cast<float>(id % 7), 1});
  }
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  REQUIRE(Eventually([&] { return Describe(client, "pts").segments() >= 1; }));
  v1::SearchRequest search = SearchOf("pts", {100, 0, 2, 1}, 5);
  search.mutable_params()->set_nprobe(5);
  search.mutable_params()->set_ef(300);
  const v1::SearchResponse found = Search(client, search);
  const v1::SearchResponse exact = Search(client, SearchOf("pts", {100, 0, 2, 1}, 5, true));
  REQUIRE(found.points_size() == 5);
  for (int i = 0; i < 5; ++i) {
    CHECK(found.points(i).id() == exact.points(i).id());
    CHECK(found.points(i).score() == exact.points(i).score());
  }
  search.mutable_params()->set_nprobe(1);
  search.mutable_params()->set_k(300);
  CHECK(Search(client, search).points_size() == 300);
  search.mutable_params()->set_nprobe(0);
  CHECK_RPC_ERROR(Try(client.vectors, &v1::VectorService::Stub::Search, search).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "params.nprobe must be 1 to 65536, but is 0");
}

TEST_CASE("k-means over a collection, and its end with the call's") {
  Daemon daemon;
  const Client client(daemon);
  CreateCollection(client, "pts", 2, v1::METRIC_L2);
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (uint64_t id = 0; id < 9; ++id) {
    AddPoint(upsert, id, {static_cast<float>(id % 3 * 10), static_cast<float>(id) / 10});
  }
  Must(client.vectors, &v1::VectorService::Stub::Upsert, upsert);
  auto request = On<v1::ClusterRequest>("pts");
  request.set_k(3);
  request.set_with_assignment(true);
  const auto found = Must(client.vectors, &v1::VectorService::Stub::Cluster, request);
  REQUIRE(found.clusters_size() == 3);
  for (const v1::Cluster& cluster : found.clusters()) {
    CHECK(cluster.points() == 3);
    CHECK(cluster.centroid_size() == 2);
  }
  REQUIRE(found.ids_size() == 9);
  std::map<int32_t, uint64_t> rest_of;
  for (int i = 0; i < 9; ++i) {
    const uint64_t rest = rest_of.emplace(found.cluster_of(i), found.ids(i) % 3).first->second;
    CHECK(rest == found.ids(i) % 3);
  }
  CHECK(CheckedStages(found.timings()) == std::vector<std::string>{"cluster"});

  v1::ClusterRequest long_one;
  for (int i = 0; i < 20'000; ++i) {
    v1::ClusterVector& vector = *long_one.add_vectors();
    for (int j = 0; j < 16; ++j) vector.add_values(static_cast<float>((i * 31 + j * j * i) % 997));
  }
  long_one.set_k(200);
  long_one.set_iterations(1000);
  CallContext context({}, std::chrono::milliseconds(200));
  v1::ClusterResponse ignored;
  CHECK(client.vectors->Cluster(&context, long_one, &ignored).error_code() ==
        grpc::StatusCode::DEADLINE_EXCEEDED);
  // The only thread for it is free again.
  Must(client.vectors, &v1::VectorService::Stub::Cluster, request);
}

TEST_CASE("a stream of upserts is acknowledged in order and ends at the first bad batch") {
  Daemon daemon;
  const Client client(daemon);
  CreateCollection(client, "pts", 2);
  CallContext context;
  const auto stream = client.vectors->UpsertStream(&context);
  for (int batch = 0; batch < 5; ++batch) {
    v1::UpsertRequest request;
    request.set_collection("pts");
    for (int i = 0; i <= batch; ++i) {
      AddPoint(request, static_cast<uint64_t>(batch * 10 + i), {1.f, static_cast<float>(i)});
    }
    REQUIRE(stream->Write(request));
  }
  v1::UpsertRequest bad;
  bad.set_collection("pts");
  AddPoint(bad, 1000, {1, 2});
  AddPoint(bad, 1001, {1, 2, 3});
  REQUIRE(stream->Write(bad));
  v1::UpsertRequest after;
  after.set_collection("pts");
  AddPoint(after, 2000, {1, 2});
  stream->Write(after);  // may or may not still be taken by the transport
  stream->WritesDone();

  v1::UpsertResponse response;
  for (int batch = 0; batch < 5; ++batch) {
    REQUIRE(stream->Read(&response));
    CHECK(response.points() == batch + 1);
  }
  CHECK_FALSE(stream->Read(&response));
  CHECK_RPC_ERROR(stream->Finish(), grpc::StatusCode::INVALID_ARGUMENT,
                  "points[1].vector has 3 values");
  CHECK(CountOf(client, "pts") == 15);  // neither the bad batch nor the one after it
  CHECK(Must(client.vectors, &v1::VectorService::Stub::Get,
             On<v1::GetRequest>("pts", {1000, 1001, 2000}))
            .points()
            .empty());
}

// What a client knows of the collection that it writes to.
struct Written {
  std::map<uint64_t, Floats> acknowledged;  // the newest vector of each point
  std::set<uint64_t> unsure;                // sent, and not acknowledged when the daemon died
  uint64_t next_id = 1;
};

constexpr int kCrashDimension = 12;
constexpr int kBatchNew = 24;
constexpr int kBatchOverwritten = 6;
constexpr size_t kBatchesInFlight = 4;

// Streams batches of new points and of new versions of earlier ones until the daemon dies.
void WriteUntilItDies(const Client& client, std::mt19937& random, Written& written,
                      std::atomic<int>& acknowledged_batches) {
  std::normal_distribution<float> normal;
  std::deque<std::map<uint64_t, Floats>> in_flight;
  CallContext context;
  const auto stream = client.vectors->UpsertStream(&context);
  const auto read_acknowledgement = [&] {
    v1::UpsertResponse response;
    if (in_flight.empty() || !stream->Read(&response)) return false;
    for (auto& [id, vector] : in_flight.front()) {
      written.unsure.erase(id);
      written.acknowledged[id] = std::move(vector);
    }
    in_flight.pop_front();
    ++acknowledged_batches;
    return true;
  };
  while (in_flight.size() < kBatchesInFlight || read_acknowledgement()) {
    std::map<uint64_t, Floats>& batch = in_flight.emplace_back();
    const auto add = [&](uint64_t id) {
      Floats vector(kCrashDimension);
      std::generate(vector.begin(), vector.end(), [&] { return normal(random); });
      batch[id] = std::move(vector);
    };
    for (int i = 0; i < kBatchNew; ++i) add(written.next_id++);
    for (int i = 0; i < kBatchOverwritten; ++i) add(1 + random() % (written.next_id - 1));
    v1::UpsertRequest request;
    request.set_collection("pts");
    for (const auto& [id, vector] : batch) {
      AddPoint(request, id, vector, "point " + std::to_string(id));
    }
    if (!stream->Write(request)) break;
  }
  while (read_acknowledgement()) {  // what it still said before it died
  }
  for (const auto& batch : in_flight) {
    for (const auto& [id, vector] : batch) written.unsure.insert(id);
  }
  CHECK_FALSE(stream->Finish().ok());
}

// Every acknowledged point is the nearest to its own vector, and has its payload: those from
// `first` on, and about `others_max` of those before.
void CheckFound(const Client& client, const Written& written, bool exact, uint64_t first,
                double others_max, std::mt19937& random) {
  CAPTURE(exact);
  std::vector<uint64_t> ids;
  v1::SearchBatchRequest request;
  request.set_collection("pts");
  request.mutable_params()->set_k(1);
  request.mutable_params()->set_ef(128);
  request.mutable_params()->set_exact(exact);
  const auto check = [&] {
    const auto found = Must(client.vectors, &v1::VectorService::Stub::SearchBatch, request);
    REQUIRE(found.results_size() == static_cast<int>(ids.size()));
    int missing = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      const auto& points = found.results(static_cast<int>(i)).points();
      missing += points.size() != 1 || points[0].id() != ids[i] || points[0].score() < 0.9999f ||
                 points[0].payload().at("note").text() != "point " + std::to_string(ids[i]);
    }
    CHECK(missing == 0);
    ids.clear();
    request.clear_queries();
  };
  std::bernoulli_distribution is_looked_at(
      std::min(1.0, others_max / static_cast<double>(std::max<uint64_t>(first, 1))));
  for (const auto& [id, vector] : written.acknowledged) {
    if (id < first && !is_looked_at(random)) continue;
    if (written.unsure.contains(id)) continue;  // its newer version may have been stored
    ids.push_back(id);
    request.add_queries()->mutable_vector()->Add(vector.begin(), vector.end());
    if (ids.size() == 1000) check();
  }
  if (!ids.empty()) check();
}

void KillAndLook(int rounds) {
  const auto seed = std::random_device{}();
  std::cout << "seed " << seed << "\n";
  CAPTURE(seed);
  std::mt19937 random(seed);
  Daemon daemon({"--vector.seal_points=128"});
  {
    const Client client(daemon);
    CreateCollection(client, "pts", kCrashDimension);
  }
  Written written;
  for (int round = 0; round < rounds; ++round) {
    CAPTURE(round);
    const uint64_t first = written.next_id;
    {
      const Client client(daemon);
      std::atomic<int> acknowledged_batches{0};
      std::mt19937 writer_random(random());
      const auto writer = std::async(std::launch::async, [&] {
        WriteUntilItDies(client, writer_random, written, acknowledged_batches);
      });
      // At the least so many that something is being sealed, then at any moment.
      const bool is_writing = Eventually([&] { return acknowledged_batches >= 8; });
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 150'000));
      daemon.Kill9();
      writer.wait();
      REQUIRE(is_writing);
    }
    daemon.Start();
    const Client client(daemon);
    const int64_t count = CountOf(client, "pts");
    CHECK(count >= static_cast<int64_t>(written.acknowledged.size()));
    CHECK(count < static_cast<int64_t>(written.next_id));
    // Of what earlier rounds looked at some, or many rounds would take the square of their time.
    CheckFound(client, written, /*exact=*/round % 2 == 0, first, /*others_max=*/1000, random);
    // The growing buffer is searched without a graph: once more when it has been sealed.
    CHECK(Eventually([&] { return Describe(client, "pts").segments() >= 1; }));
    if (round == rounds - 1) CheckFound(client, written, /*exact=*/false, 0, 0, random);
  }
  std::cout << written.acknowledged.size() << " points were acknowledged, " << written.unsure.size()
            << " points were in doubt\n";
}

TEST_CASE("after kill -9 during a stream of upserts every acknowledged point is found again") {
  KillAndLook(10);
}

TEST_CASE("after many kill -9 during streams of upserts, too", "[.slow]") { KillAndLook(100); }

TEST_CASE("a snapshot is made while writing, listed, verified and becomes another daemon's store") {
  Daemon daemon({"--vector.seal_points=64"});
  const Client client(daemon);
  CreateCollection(client, "pts", 3, v1::METRIC_L2);
  const auto upsert = [&client](uint64_t first, uint64_t end) {
    v1::UpsertRequest request;
    request.set_collection("pts");
    for (uint64_t id = first; id < end; ++id) {
      AddPoint(request, id, {static_cast<float>(id), 1, 2}, "point " + std::to_string(id));
    }
    Must(client.vectors, &v1::VectorService::Stub::Upsert, request);
  };
  upsert(0, 500);
  v1::CreateSnapshotRequest create;
  create.set_name("first");
  const v1::Snapshot made =
      Must(client.admin, &v1::AdminService::Stub::CreateSnapshot, create).snapshot();
  CHECK(made.collections() == 1);
  CHECK(made.bytes() > 0);
  upsert(500, 700);
  CHECK_RPC_ERROR(Try(client.admin, &v1::AdminService::Stub::CreateSnapshot, create).status,
                  grpc::StatusCode::ALREADY_EXISTS, "\"first\"");
  create.set_name("../x");
  CHECK_RPC_ERROR(Try(client.admin, &v1::AdminService::Stub::CreateSnapshot, create).status,
                  grpc::StatusCode::INVALID_ARGUMENT, "name");
  const auto listed = Must(client.admin, &v1::AdminService::Stub::ListSnapshots, {});
  REQUIRE(listed.snapshots_size() == 1);
  CHECK(listed.snapshots(0).name() == "first");
  v1::VerifySnapshotRequest verify;
  for (const char* name : {"first", ""}) {
    verify.set_name(name);
    const auto report = Must(client.admin, &v1::AdminService::Stub::VerifySnapshot, verify);
    CHECK(report.problems().empty());
    CHECK(report.points() == (*name == '\0' ? 700 : 500));
  }
  Daemon other({"--vector.restore=" + daemon.data_dir() + "/snapshots/first"});
  const Client other_client(other);
  CHECK(CountOf(other_client, "pts") == 500);
  const auto found = Search(other_client, SearchOf("pts", {499, 1, 2}, 1));
  REQUIRE(found.points_size() == 1);
  CHECK(found.points(0).id() == 499);
  v1::DeleteSnapshotRequest deletion;
  deletion.set_name("first");
  Must(client.admin, &v1::AdminService::Stub::DeleteSnapshot, deletion);
  CHECK_RPC_ERROR(Try(client.admin, &v1::AdminService::Stub::DeleteSnapshot, deletion).status,
                  grpc::StatusCode::NOT_FOUND, "\"first\"");
}

}  // namespace
}  // namespace baton
