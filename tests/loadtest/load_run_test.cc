#include "loadtest/load_run.h"  // header under test

#include <grpcpp/grpcpp.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>

#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/rag.grpc.pb.h"
#include "baton/v1/vector.grpc.pb.h"
#include "tests/loadtest/temporary_file.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

using std::chrono::milliseconds;

// A proxy that is not there: whoever uses it does not arrive. Before gRPC reads the environment.
const bool kProxySet = [] {
  for (const char* name : {"grpc_proxy", "https_proxy", "http_proxy"}) {
    setenv(name, "http://127.0.0.1:1", 1);
  }
  unsetenv("no_proxy");
  unsetenv("no_grpc_proxy");
  return true;
}();

// What the daemon of these tests does, in milliseconds.
struct Script {
  int64_t first_ms = 0;
  int64_t gap_ms = 0;
  int messages = 0;
  int tokens_per_message = 1;
  bool finish = true;
  bool one_at_a_time = false;
  grpc::StatusCode every_second_fails = grpc::StatusCode::OK;
};

void Sleep(int64_t ms) { std::this_thread::sleep_for(milliseconds(ms)); }

template <class Response>
void WriteTokens(const Script& script, grpc::ServerWriter<Response>* writer) {
  Sleep(script.first_ms);
  for (int i = 0; i < script.messages; ++i) {
    if (i > 0) {
      Sleep(script.gap_ms);
    }
    Response response;
    for (int t = 0; t < script.tokens_per_message; ++t) {
      response.mutable_tokens()->add_ids(t);
    }
    writer->Write(response);
  }
  if (script.finish) {
    Response response;
    response.mutable_finished();
    writer->Write(response);
  }
}

class FakeDaemon final : public v1::InferenceService::Service,
                         public v1::RagService::Service,
                         public v1::VectorService::Service {
 public:
  explicit FakeDaemon(Script script) : script_(script) {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(static_cast<v1::InferenceService::Service*>(this));
    builder.RegisterService(static_cast<v1::RagService::Service*>(this));
    builder.RegisterService(static_cast<v1::VectorService::Service*>(this));
    server_ = builder.BuildAndStart();
    REQUIRE(server_ != nullptr);
    target_ = "127.0.0.1:" + std::to_string(port);
  }
  ~FakeDaemon() override { server_->Shutdown(std::chrono::system_clock::now() + milliseconds(50)); }

  const std::string& target() const { return target_; }

  grpc::Status Generate(grpc::ServerContext*, const v1::GenerateRequest*,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    WriteTokens(script_, writer);
    return grpc::Status::OK;
  }

  grpc::Status Ask(grpc::ServerContext*, const v1::AskRequest* request,
                   grpc::ServerWriter<v1::AskResponse>* writer) override {
    if (request->collection() != "c" || request->question() != "Why?") {
      return {grpc::StatusCode::INVALID_ARGUMENT, "not what was asked for"};
    }
    v1::AskResponse response;
    response.mutable_retrieved();
    writer->Write(response);
    WriteTokens(script_, writer);
    return grpc::Status::OK;
  }

  grpc::Status DescribeCollection(grpc::ServerContext*, const v1::DescribeCollectionRequest*,
                                  v1::DescribeCollectionResponse* response) override {
    response->mutable_collection()->mutable_spec()->set_dimension(6);
    return grpc::Status::OK;
  }

  grpc::Status Search(grpc::ServerContext*, const v1::SearchRequest* request,
                      v1::SearchResponse*) override {
    if (request->vector_size() != 6) {
      return {grpc::StatusCode::INVALID_ARGUMENT, "dimension"};
    }
    std::unique_lock lock(mutex_, std::defer_lock);
    if (script_.one_at_a_time) {
      lock.lock();
    }
    Sleep(script_.first_ms);
    const bool second = searches_++ % 2 == 1;
    return second ? grpc::Status(script_.every_second_fails, "scripted") : grpc::Status::OK;
  }

 private:
  const Script script_;
  std::unique_ptr<grpc::Server> server_;
  std::string target_;
  std::mutex mutex_;
  std::atomic<int> searches_ = 0;
};

struct Outcome {
  absl::Status status;
  nlohmann::json figures;
};

Outcome RunFor(const LoadOptions& options) {
  const std::atomic<bool> stop = false;
  Results results;
  Outcome outcome;
  outcome.status = RunLoad(options, stop, results);
  outcome.figures = nlohmann::json::parse(Report(options, results).Json())["figures"];
  return outcome;
}

LoadOptions SearchLoad(const std::string& target) {
  LoadOptions options;
  options.target = target;
  options.scenario = Scenario::kSearch;
  options.collection = "c";
  options.rate_per_s = 100;
  options.duration_s = 0.5;
  options.arrivals = ArrivalKind::kConstant;
  options.channels = 2;
  return options;
}

// What a busy machine adds is in all figures of a request alike: lower bounds are the script's, and
// upper ones are other figures of the same requests.
TEST_CASE("Generate: TTFT, ITL, TPOT and E2E are the scripted ones, past a bogus proxy") {
  const FakeDaemon daemon({.first_ms = 40, .gap_ms = 10, .messages = 5, .tokens_per_message = 2});
  const TemporaryFile prompts("Once\n");
  LoadOptions options = SearchLoad(daemon.target());
  options.scenario = Scenario::kGenerate;
  options.prompts_path = prompts.path();
  options.rate_per_s = 20;
  const Outcome outcome = RunFor(options);
  REQUIRE_OK(outcome.status);
  const auto& f = outcome.figures;
  CHECK(f["requests.ok"] == 10);
  CHECK(f["requests.failed"] == 0);
  CHECK(f["itl_ms.samples"] == 40);  // 4 gaps in each of 10 requests
  CHECK(f["ttft_ms.p50"] >= 40);
  const double after_first_ms = f["e2e_ms.mean"].get<double>() - f["ttft_ms.mean"].get<double>();
  CHECK(after_first_ms >= 36);
  CHECK(f["itl_ms.p50"] >= 9);
  CHECK(4 * f["itl_ms.mean"].get<double>() <= after_first_ms + 0.1);
  CHECK(9 * f["tpot_ms.mean"].get<double>() == Approx(after_first_ms).epsilon(0.01));
  CHECK(f["throughput.tokens_per_s"] == Approx(100 / f["wall_s"].get<double>()));
}

TEST_CASE("Ask: `retrieved` is timed apart, and the answer after it") {
  const FakeDaemon daemon({.first_ms = 50, .messages = 2});
  const TemporaryFile questions("{\"question\": \"Why?\"}\n");
  LoadOptions options = SearchLoad(daemon.target());
  options.scenario = Scenario::kAsk;
  options.questions_path = questions.path();
  options.rate_per_s = 20;
  const Outcome outcome = RunFor(options);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 10);
  const double retrieved_ms = outcome.figures["retrieved_ms.mean"];
  CHECK(outcome.figures["ttft_ms.mean"] >= retrieved_ms + 40);
}

TEST_CASE("Overload does not flatter: waiting behind others counts from the intended time") {
  // 100 requests a second for half a second, served one at a time in 20 ms: the last waits 0.5 s.
  const FakeDaemon daemon({.first_ms = 20, .one_at_a_time = true});
  const Outcome outcome = RunFor(SearchLoad(daemon.target()));
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 50);
  CHECK(outcome.figures["search_ms.max"] >= 500);
  CHECK(outcome.figures["search_ms.p50"] >= 250);
}

TEST_CASE("Errors are counted by code, beside what succeeded") {
  const FakeDaemon daemon({.every_second_fails = grpc::StatusCode::RESOURCE_EXHAUSTED});
  const Outcome outcome = RunFor(SearchLoad(daemon.target()));
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 25);
  CHECK(outcome.figures["errors.RESOURCE_EXHAUSTED"] == 25);
}

TEST_CASE("No more than the limit is in flight; the rest is dropped and counted") {
  const FakeDaemon daemon({.first_ms = 300});
  LoadOptions options = SearchLoad(daemon.target());
  options.in_flight_max = 2;
  const Outcome outcome = RunFor(options);
  REQUIRE_OK(outcome.status);
  const double sent = outcome.figures["requests.sent"];
  CHECK(sent >= 2);
  CHECK(sent <= 4);
  CHECK(sent + outcome.figures["requests.dropped"].get<double>() == 50);
}

TEST_CASE("The deadline ends a request that hangs") {
  const FakeDaemon daemon({.first_ms = 400});
  LoadOptions options = SearchLoad(daemon.target());
  options.deadline_ms = 50;
  options.rate_per_s = 10;
  const Outcome outcome = RunFor(options);
  REQUIRE_OK(outcome.status);
  CHECK(outcome.figures["requests.ok"] == 0);
  // A request that is late already is not sent.
  const double late = outcome.figures["errors.DEADLINE_EXCEEDED"];
  CHECK(late >= 1);
  CHECK(late + outcome.figures["requests.dropped"].get<double>() == 5);
}

TEST_CASE("A stream that ends OK without `finished` is no success") {
  const FakeDaemon daemon({.messages = 2, .finish = false});
  const TemporaryFile prompts("Once\n");
  LoadOptions options = SearchLoad(daemon.target());
  options.scenario = Scenario::kGenerate;
  options.prompts_path = prompts.path();
  options.rate_per_s = 10;
  const Outcome outcome = RunFor(options);
  CHECK(outcome.figures["requests.ok"] == 0);
  CHECK(outcome.figures["errors.INCOMPLETE_STREAM"] == 5);
}

TEST_CASE("A target that is not there is UNAVAILABLE, with a report of nothing") {
  LoadOptions options = SearchLoad("127.0.0.1:1");
  options.connect_ms = 200;
  const Outcome outcome = RunFor(options);
  REQUIRE_STATUS(outcome.status, absl::StatusCode::kUnavailable, "127.0.0.1:1");
  CHECK(outcome.figures["requests.sent"] == 0);
}

TEST_CASE("An interrupt ends the sending, and what is under way is still counted") {
  const FakeDaemon daemon({.first_ms = 10});
  LoadOptions options = SearchLoad(daemon.target());
  options.duration_s = 60;
  std::atomic<bool> stop = false;
  Results results;
  std::jthread interrupter([&stop] {
    Sleep(300);
    stop = true;
  });
  const auto start = std::chrono::steady_clock::now();
  REQUIRE_OK(RunLoad(options, stop, results));
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
  CHECK(results.ok() > 0);
  CHECK(results.ok() == results.sent());
}

}  // namespace
}  // namespace baton::load
