#include "server/rpc_metrics.h"

#include <catch2/catch.hpp>
#include <set>
#include <string_view>

#include "tests/support/fake_clock.h"

namespace baton {
namespace {

TEST_CASE("every RPC has a name of its own") {
  std::set<std::string_view> names;
  for (size_t i = 0; i < kRpcCount; ++i) names.insert(Name(static_cast<Rpc>(i)));
  CHECK(names.size() == kRpcCount);
  CHECK(Name(Rpc::kAsk) == "RagService/Ask");
  CHECK(Name(Rpc::kRerank) == "InferenceService/Rerank");
  CHECK(Name(Rpc::kUnloadModel) == "AdminService/UnloadModel");
  CHECK(Name(Rpc::kVerifySnapshot) == "AdminService/VerifySnapshot");
  CHECK(Name(Rpc::kModelStreamInfer) == "GRPCInferenceService/ModelStreamInfer");
  CHECK(Name(Rpc::kOpenAiEmbeddings) == "OpenAI/Embeddings");
}

TEST_CASE("an RPC is counted by its code and timed when it is over") {
  Metrics metrics;
  FakeClock clock;
  RpcMetrics rpcs(metrics, clock);
  {
    RpcScope scope(rpcs, Rpc::kSearch);
    CHECK(rpcs.active() == 1);
    clock.AdvanceUs(250'000);
    scope.set_code(absl::StatusCode::kOk);
  }
  CHECK(rpcs.active() == 0);
  {
    RpcScope scope(rpcs, Rpc::kSearch);
    scope.set_code(absl::StatusCode::kNotFound);
  }
  { const RpcScope forgotten(rpcs, Rpc::kSearch); }
  const auto count = [&](std::string_view code) {
    return metrics.Counter(MetricId::kRequests, {"VectorService/Search", code}).Value();
  };
  CHECK(count("OK") == 1);
  CHECK(count("NOT_FOUND") == 1);
  CHECK(count("UNKNOWN") == 1);
  const auto histogram =
      metrics.Histogram(MetricId::kRequestSeconds, {"VectorService/Search"}).Collect().histogram;
  CHECK(histogram.sample_count == 3);
  CHECK(histogram.sample_sum == Approx(0.25));
}

}  // namespace
}  // namespace baton
