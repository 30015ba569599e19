// What a search may ask beside the nearest points, over the wire.
#include <map>
#include <string>
#include <vector>

#include "tests/integration/client.h"

namespace baton {
namespace {

using Stub = v1::VectorService::Stub;
constexpr auto kInvalid = grpc::StatusCode::INVALID_ARGUMENT;

// Points at (id, 0) with a line each.
void FillCollection(const Client& client) {
  CreateCollection(client, "pts", 2, v1::METRIC_L2);
  v1::CreatePayloadIndexRequest index;
  index.set_collection("pts");
  index.set_field("line");
  index.set_kind(v1::PAYLOAD_INDEX_KIND_TEXT);
  Must(client.vectors, &Stub::CreatePayloadIndex, index);
  const std::map<uint64_t, std::string> lines = {{1, "Red fox"},
                                                 {2, "fox, fox; fox -- owl"},
                                                 {3, "hen"},
                                                 {4, "the fox saw the hen"},
                                                 {5, "nothing of the kind"}};
  v1::UpsertRequest upsert;
  upsert.set_collection("pts");
  for (const auto& [id, line] : lines) {
    AddPoint(upsert, id, {static_cast<float>(id), 0});
    (*upsert.mutable_points(upsert.points_size() - 1)->mutable_payload())["line"].set_text(line);
  }
  Must(client.vectors, &Stub::Upsert, upsert);
}

v1::SearchRequest TextSearch(const std::string& text, int32_t k) {
  v1::SearchRequest request;
  request.set_collection("pts");
  request.mutable_text()->set_text(text);
  request.mutable_params()->set_k(k);
  return request;
}

TEST_CASE("points are found by text, and by text and vector, also after a restart") {
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
    const auto found = Must(client.vectors, &Stub::Search, TextSearch("FOX", 10));
    REQUIRE(IdsOf(found.points()) == Ids{2, 1, 4});
    // Five documents of 16 words: idf = ln(1 + 2.5 / 3.5), norm(4) = 0.3 + 0.9 * 4 / 3.2
    REQUIRE(found.points(0).score() == Approx(0.538996501 * 6.6 / (3 + 1.425)).epsilon(1e-6));
    REQUIRE(found.points(0).payload().at("line").text() == "fox, fox; fox -- owl");
    REQUIRE(found.points(1).parts().text_rank() == 2);
    REQUIRE(found.points(1).parts().text_score() == found.points(1).score());
    REQUIRE(!found.points(1).parts().has_dense_rank());

    v1::SearchRequest request = TextSearch("hen", 3);
    request.mutable_vector()->Add(4.2f);
    request.mutable_vector()->Add(0);
    request.mutable_fusion()->set_candidates(2);
    const auto both = Must(client.vectors, &Stub::Search, request);
    // By vector 4, 5; by text 3, 4.
    REQUIRE(IdsOf(both.points()) == Ids{4, 3, 5});
    REQUIRE(both.points(0).score() == Approx(1.0 / 61 + 1.0 / 62));
    REQUIRE(both.points(0).parts().dense_rank() == 1);
    REQUIRE(both.points(0).parts().dense_score() == Approx(0.04).epsilon(1e-3));
    REQUIRE(both.points(0).parts().text_rank() == 2);
    REQUIRE(!both.points(2).parts().has_text_rank());
    request.mutable_fusion()->set_kind(v1::FUSION_KIND_WEIGHTED);
    request.mutable_fusion()->set_dense_weight(0.5);
    request.mutable_fusion()->set_text_weight(1.5);
    const auto weighted = Must(client.vectors, &Stub::Search, request);
    REQUIRE(IdsOf(weighted.points()) == Ids{3, 4, 5});
    REQUIRE(weighted.points(0).score() == Approx(0.75));
    REQUIRE(weighted.points(1).score() == Approx(0.25));
  }
  v1::SearchBatchRequest batch;
  batch.set_collection("pts");
  batch.mutable_params()->set_k(1);
  batch.add_queries()->mutable_text()->set_text("owl");
  batch.add_queries()->mutable_text()->set_text("hen");
  const auto results = Must(client.vectors, &Stub::SearchBatch, batch);
  REQUIRE(results.results_size() == 2);
  REQUIRE(IdsOf(results.results(0).points()) == Ids{2});
  REQUIRE(IdsOf(results.results(1).points()) == Ids{3});
  batch.mutable_queries(1)->mutable_vector()->Add(1);
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::SearchBatch, batch).status, kInvalid,
                  "queries[1] has a vector");
  batch.mutable_queries(0)->clear_text();
  CHECK_RPC_ERROR(Try(client.vectors, &Stub::SearchBatch, batch).status, kInvalid,
                  "2 queries and texts for 1 of them");
}

TEST_CASE("a search by text that means nothing says what is wrong with it") {
  Daemon daemon;
  const Client client(daemon);
  FillCollection(client);
  const auto fails = [&client](const v1::SearchRequest& request, const std::string& words,
                               grpc::StatusCode code = kInvalid) {
    CHECK_RPC_ERROR(Try(client.vectors, &Stub::Search, request).status, code, words);
  };
  fails(TextSearch(" ?!", 1), "queries[0]: text.text has no word");
  v1::SearchRequest request = TextSearch("fox", 1);
  request.mutable_text()->set_field("color");
  fails(request, "has no payload index", grpc::StatusCode::FAILED_PRECONDITION);
  request = TextSearch("fox", 1);
  request.mutable_text()->set_b(1.1);
  fails(request, "text.b must be 0 to 1, but is 1.1");
  request = TextSearch("fox", 0);
  fails(request, "params.k must be 1 to 10000");
  request = TextSearch("fox", 1);
  request.mutable_vector()->Add(1);
  fails(request, "query has 1 value, but collection \"pts\" has dimension 2");
  request.mutable_vector()->Add(1);
  request.mutable_fusion()->set_rank_constant(0);
  fails(request, "fusion.rank_constant must be 1 to 10000, but is 0");
  request.mutable_fusion()->set_rank_constant(1);
  request.mutable_fusion()->set_candidates(0);
  fails(request, "fusion.candidates must be 1 to 10000, but is 0");
  request.mutable_fusion()->set_candidates(1);
  request.mutable_fusion()->set_dense_weight(-1);
  fails(request, "fusion.dense_weight must be 0 to 1000000, but is -1");
  request.mutable_fusion()->set_dense_weight(0);
  request.mutable_fusion()->set_text_weight(0);
  fails(request, "both 0");
  request.mutable_fusion()->set_kind(static_cast<v1::FusionKind>(9));
  fails(request, "fusion.kind must be 1 or 2");
}

TEST_CASE("all points within a score are found, as far as the limit goes") {
  Daemon daemon;
  const Client client(daemon);
  FillCollection(client);
  v1::SearchRangeRequest request;
  request.set_collection("pts");
  request.mutable_vector()->Add(2.1f);
  request.mutable_vector()->Add(0);
  request.set_score_threshold(1.3f);
  auto found = Must(client.vectors, &Stub::SearchRange, request);
  REQUIRE(IdsOf(found.points()) == Ids{2, 3, 1});
  REQUIRE(!found.more());
  REQUIRE(found.unsearched_points() == 0);
  REQUIRE(found.points(0).payload().count("line") == 1);
  request.set_limit(2);
  request.mutable_params()->set_exact(true);
  found = Must(client.vectors, &Stub::SearchRange, request);
  REQUIRE(IdsOf(found.points()) == Ids{2, 3});
  REQUIRE(found.more());
  request.set_limit(3);
  REQUIRE(!Must(client.vectors, &Stub::SearchRange, request).more());
  request.set_score_threshold(-1);
  REQUIRE(Must(client.vectors, &Stub::SearchRange, request).points_size() == 0);
  const auto fails = [&](const std::string& words) {
    CHECK_RPC_ERROR(Try(client.vectors, &Stub::SearchRange, request).status, kInvalid, words);
  };
  request.set_limit(100'001);
  fails("limit must be 1 to 100000, but is 100001");
  request.set_limit(100'000);
  request.clear_score_threshold();
  fails("score_threshold is missing");
  request.mutable_params()->set_k(3);
  fails("params.k");
}

}  // namespace
}  // namespace baton
