#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <mutex>
#include <vector>

#include "qdrant/search.grpc.pb.h"
#include "tests/loadtest/load_runs.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

// Finds 1 to limit; misses the last unless exact.
class FakeQdrant final : public qdrant::Points::Service {
 public:
  FakeQdrant() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    target_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeQdrant() override { server_->Shutdown(); }

  grpc::Status Search(grpc::ServerContext*, const qdrant::SearchPoints* request,
                      qdrant::SearchResponse* response) override {
    std::lock_guard lock(mutex_);
    searches_.push_back(*request);
    const uint64_t found = request->limit() - (request->params().exact() ? 0 : 1);
    for (uint64_t id = 1; id <= found; ++id) response->add_result()->mutable_id()->set_num(id);
    return grpc::Status::OK;
  }

  grpc::Status SearchBatch(grpc::ServerContext*, const qdrant::SearchBatchPoints* request,
                           qdrant::SearchBatchResponse*) override {
    std::lock_guard lock(mutex_);
    batches_.push_back(*request);
    return grpc::Status::OK;
  }

  const std::string& target() const { return target_; }
  std::vector<qdrant::SearchPoints> searches_;
  std::vector<qdrant::SearchBatchPoints> batches_;

 private:
  std::mutex mutex_;
  std::unique_ptr<grpc::Server> server_;
  std::string target_;
};

TEST_CASE("Qdrant is searched over its own wire") {
  FakeQdrant server;
  Scenario scenario = SearchLoad(server.target());
  scenario.api = Api::kQdrant;
  scenario.load[0].dimension = 6;
  scenario.load[0].k = 4;
  scenario.load[0].ef = 77;
  scenario.load[0].exact_share = 1;
  const LoadOutcome outcome = RunScenario(scenario);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 50);
  CHECK(outcome.figures["recall.mean"].get<double>() == Approx(0.75));
  const qdrant::SearchPoints& first = server.searches_.front();
  CHECK(first.collection_name() == "c");
  CHECK(first.vector_size() == 6);
  CHECK(first.limit() == 4);
  CHECK(first.params().hnsw_ef() == 77);
  scenario.load[0].exact_share = 0;
  scenario.load[0].kind = Kind::kSearchBulk;
  scenario.load[0].batch = 3;
  const LoadOutcome bulk = RunScenario(scenario);
  REQUIRE_OK(bulk.status);
  CHECK(bulk.figures["requests.ok"] == 50);
  CHECK(server.batches_.front().search_points_size() == 3);
}

// Bytes as Qdrant's own messages have them, by hand: a field number that drifts is found.
TEST_CASE("Field numbers are those of Qdrant") {
  qdrant::SearchPoints search;
  search.set_collection_name("c");
  search.set_limit(4);
  search.mutable_with_payload()->set_enable(true);
  search.mutable_params()->set_hnsw_ef(7);
  search.mutable_params()->set_exact(true);
  search.set_vector_name("v");
  CHECK(search.SerializeAsString() ==
        std::string("\x0a\x01"
                    "c\x20\x04\x32\x02\x08\x01\x3a\x04\x08\x07\x10\x01\x52\x01"
                    "v"));
  // A result with payload (2) and version (5), which are not read, around what is.
  qdrant::SearchResponse response;
  REQUIRE(response.ParseFromString(
      std::string("\x0a\x0b\x0a\x02\x08\x09\x1d\x00\x00\x80\x3f\x28\x03\x11", 14) +
      std::string(8, '\0')));
  CHECK(response.result(0).id().num() == 9);
  CHECK(response.result(0).score() == 1);
}

TEST_CASE("Without a dimension the key is named") {
  FakeQdrant server;
  Scenario scenario = SearchLoad(server.target());
  scenario.api = Api::kQdrant;
  REQUIRE_STATUS(RunScenario(scenario).status, absl::StatusCode::kInvalidArgument,
                 "needs dimension");
}

}  // namespace
}  // namespace baton::load
