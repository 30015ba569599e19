#include "loadtest/load_run.h"

#include <grpcpp/grpcpp.h>
#include <sys/prctl.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "baton/v1/inference.grpc.pb.h"
#include "baton/v1/rag.grpc.pb.h"
#include "baton/v1/vector.grpc.pb.h"
#include "loadtest/workload.h"

namespace baton::load {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

// A stream longer than this keeps only its first gaps; a hostile target must not fill the memory.
constexpr size_t kGapsPerRequestMax = 100'000;

std::string CodeName(grpc::StatusCode code) {
  static constexpr const char* kNames[] = {"OK",
                                           "CANCELLED",
                                           "UNKNOWN",
                                           "INVALID_ARGUMENT",
                                           "DEADLINE_EXCEEDED",
                                           "NOT_FOUND",
                                           "ALREADY_EXISTS",
                                           "PERMISSION_DENIED",
                                           "RESOURCE_EXHAUSTED",
                                           "FAILED_PRECONDITION",
                                           "ABORTED",
                                           "OUT_OF_RANGE",
                                           "UNIMPLEMENTED",
                                           "INTERNAL",
                                           "UNAVAILABLE",
                                           "DATA_LOSS",
                                           "UNAUTHENTICATED"};
  const size_t index = static_cast<size_t>(code);
  return index < std::size(kNames) ? kNames[index] : absl::StrCat("CODE_", index);
}

// Where finished requests are counted. Thread safe: gRPC's threads finish, the sender begins.
class Collector {
 public:
  Collector(SteadyTime start, Results& results) : start_(start), results_(results) {}

  int64_t NowNs() const { return nanoseconds(std::chrono::steady_clock::now() - start_).count(); }

  // False where `in_flight_max` requests are under way; the request is then counted as dropped.
  bool TryBegin(int32_t in_flight_max) {
    std::lock_guard lock(mutex_);
    if (in_flight_ >= in_flight_max) {
      results_.AddDropped();
      return false;
    }
    ++in_flight_;
    return true;
  }

  void Drop() {
    std::lock_guard lock(mutex_);
    results_.AddDropped();
  }

  void Finish(const RequestRecord& record) {
    std::lock_guard lock(mutex_);
    results_.Add(record);
    // Notified under the lock: the waiter may destroy this as soon as it is released.
    if (--in_flight_ == 0) {
      idle_.notify_all();
    }
  }

  void WaitUntilIdle() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return in_flight_ == 0; });
  }

 private:
  const SteadyTime start_;
  std::mutex mutex_;
  std::condition_variable idle_;
  int32_t in_flight_ = 0;  // guarded by mutex_
  Results& results_;       // guarded by mutex_
};

// One request under way: owns itself and goes when its status has come. `intended_ns` and the
// deadline count from the start of the run.
class CallBase {
 protected:
  CallBase(Collector& collector, int64_t intended_ns, int64_t deadline_ns) : collector_(collector) {
    record_.intended_ns = intended_ns;
    record_.sent_ns = collector.NowNs();
    context_.set_deadline(std::chrono::system_clock::now() +
                          nanoseconds(intended_ns + deadline_ns - record_.sent_ns));
  }

  // Deletes `call`, which is this object, and only then counts it: its context shares the channel,
  // whose last owner must be the sender. A callback thread that destroyed the last channel would
  // wait in gRPC for its own end.
  template <class Call>
  static void Finish(Call* call, const grpc::Status& status, bool complete) {
    Collector& collector = call->collector_;
    RequestRecord record = std::move(call->record_);
    record.done_ns = collector.NowNs();
    delete call;
    record.code = status.ok() && !complete ? "INCOMPLETE_STREAM" : CodeName(status.error_code());
    collector.Finish(record);
  }

  Collector& collector_;
  grpc::ClientContext context_;
  RequestRecord record_;
};

template <class Request, class Response>
class StreamCall final : public CallBase, public grpc::ClientReadReactor<Response> {
 public:
  StreamCall(Collector& collector, int64_t intended_ns, int64_t deadline_ns, Request request)
      : CallBase(collector, intended_ns, deadline_ns), request_(std::move(request)) {}

  // `method` is the stub's async method. Afterwards the call may be gone.
  template <class AsyncStub, class Method>
  void Start(AsyncStub* stub, Method method) {
    (stub->*method)(&context_, &request_, this);
    this->StartRead(&response_);
    this->StartCall();
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      return;
    }
    Observe(response_);
    this->StartRead(&response_);
  }

  void OnDone(const grpc::Status& status) override { Finish(this, status, finished_); }

 private:
  void Observe(const Response& response) {
    if (response.has_tokens()) {
      const int64_t now_ns = collector_.NowNs();
      if (record_.first_output_ns < 0) {
        record_.first_output_ns = now_ns;
      } else if (record_.gaps_ns.size() < kGapsPerRequestMax) {
        record_.gaps_ns.push_back(now_ns - last_output_ns_);
      }
      last_output_ns_ = now_ns;
      record_.tokens += response.tokens().ids_size();
    } else if (response.has_finished()) {
      finished_ = true;
    }
    if constexpr (std::is_same_v<Response, v1::AskResponse>) {
      if (response.has_retrieved()) {
        record_.retrieved_ns = collector_.NowNs();
      }
    }
  }

  Request request_;
  Response response_;
  int64_t last_output_ns_ = 0;
  bool finished_ = false;
};

class SearchCall final : public CallBase {
 public:
  SearchCall(Collector& collector, int64_t intended_ns, int64_t deadline_ns,
             v1::SearchRequest request)
      : CallBase(collector, intended_ns, deadline_ns), request_(std::move(request)) {}

  void Start(v1::VectorService::Stub& stub) {
    stub.async()->Search(&context_, &request_, &response_,
                         [this](const grpc::Status& status) { Finish(this, status, true); });
  }

 private:
  v1::SearchRequest request_;
  v1::SearchResponse response_;
};

using GenerateCall = StreamCall<v1::GenerateRequest, v1::GenerateResponse>;
using AskCall = StreamCall<v1::AskRequest, v1::AskResponse>;

// One connection and its stubs.
struct Connection {
  explicit Connection(const std::shared_ptr<grpc::Channel>& channel)
      : inference(v1::InferenceService::NewStub(channel)),
        rag(v1::RagService::NewStub(channel)),
        vectors(v1::VectorService::NewStub(channel)) {}

  std::unique_ptr<v1::InferenceService::Stub> inference;
  std::unique_ptr<v1::RagService::Stub> rag;
  std::unique_ptr<v1::VectorService::Stub> vectors;
};

absl::StatusOr<std::vector<Connection>> Connect(const LoadOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // a proxy would be measured along
  // Channels to one address share a connection otherwise.
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto until = std::chrono::system_clock::now() + milliseconds(options.connect_ms);
  std::vector<Connection> connections;
  for (int32_t i = 0; i < options.channels; ++i) {
    auto channel =
        grpc::CreateCustomChannel(options.target, grpc::InsecureChannelCredentials(), arguments);
    if (!channel->WaitForConnected(until)) {
      return absl::UnavailableError(absl::StrCat("nothing answers at ", options.target, " within ",
                                                 options.connect_ms, " ms"));
    }
    connections.emplace_back(channel);
  }
  return connections;
}

absl::StatusOr<int32_t> AskDimension(const LoadOptions& options, Connection& connection) {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + milliseconds(options.deadline_ms));
  v1::DescribeCollectionRequest request;
  request.set_collection(options.collection);
  v1::DescribeCollectionResponse response;
  const grpc::Status status = connection.vectors->DescribeCollection(&context, request, &response);
  if (!status.ok()) {
    return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                        absl::StrCat("describing collection \"", options.collection,
                                     "\": ", status.error_message()));
  }
  const int32_t dimension = response.collection().spec().dimension();
  if (dimension < 1 || dimension > 65'536) {
    return absl::InternalError(
        absl::StrCat("the daemon gave dimension ", dimension, "; name it with --dim"));
  }
  return dimension;
}

// In slices, so that an interrupt does not wait for the next request of a slow run.
void SleepUntil(SteadyTime until, const std::atomic<bool>& stop) {
  constexpr milliseconds kSlice{100};
  while (!stop && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_until(std::min(until, std::chrono::steady_clock::now() + kSlice));
  }
}

// Sends one request over `connection`; `pick` chooses its input.
void Send(const LoadOptions& options, const Workload& workload, uint64_t pick, int64_t intended_ns,
          Collector& collector, Connection& connection) {
  const int64_t deadline_ns = options.deadline_ms * 1'000'000;
  switch (options.scenario) {
    case Scenario::kAsk: {
      v1::AskRequest request;
      request.set_collection(options.collection);
      request.set_question(workload.texts[pick % workload.texts.size()]);
      request.set_k(options.k);
      request.set_model(options.model);
      request.set_max_tokens(options.max_tokens);
      auto* call = new AskCall(collector, intended_ns, deadline_ns, std::move(request));
      call->Start(connection.rag->async(), &v1::RagService::Stub::async::Ask);
      return;
    }
    case Scenario::kGenerate: {
      v1::GenerateRequest request;
      request.set_text(workload.texts[pick % workload.texts.size()]);
      request.set_model(options.model);
      request.set_max_tokens(options.max_tokens);
      request.set_ignore_eos(options.ignore_eos);
      auto* call = new GenerateCall(collector, intended_ns, deadline_ns, std::move(request));
      call->Start(connection.inference->async(), &v1::InferenceService::Stub::async::Generate);
      return;
    }
    case Scenario::kSearch: {
      v1::SearchRequest request;
      request.set_collection(options.collection);
      const std::vector<float>& vector = workload.vectors[pick % workload.vectors.size()];
      request.mutable_vector()->Add(vector.begin(), vector.end());
      request.mutable_params()->set_k(options.k);
      (new SearchCall(collector, intended_ns, deadline_ns, std::move(request)))
          ->Start(*connection.vectors);
      return;
    }
  }
}

}  // namespace

absl::Status RunLoad(const LoadOptions& asked, const std::atomic<bool>& stop, Results& results) {
  LoadOptions options = asked;
  auto connections = Connect(options);
  if (!connections.ok()) {
    return connections.status();
  }
  if (options.scenario == Scenario::kSearch && options.dimension == 0) {
    auto dimension = AskDimension(options, connections->front());
    if (!dimension.ok()) {
      return dimension.status();
    }
    options.dimension = *dimension;
  }
  auto workload = MakeWorkload(options);
  if (!workload.ok()) {
    return workload.status();
  }

  // The kernel may wake a sleeper up to 50 us late unless asked not to.
  prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
  Arrivals arrivals(options.arrivals, options.rate_per_s, options.seed);
  std::mt19937_64 picks(options.seed + 1);
  const int64_t duration_ns = static_cast<int64_t>(options.duration_s * 1e9);
  const int64_t deadline_ns = options.deadline_ms * 1'000'000;
  const SteadyTime start = std::chrono::steady_clock::now();
  Collector collector(start, results);
  size_t next_connection = 0;
  for (int64_t intended_ns = arrivals.NextNs(); intended_ns < duration_ns && !stop;
       intended_ns = arrivals.NextNs()) {
    SleepUntil(start + nanoseconds(intended_ns), stop);
    const uint64_t pick = picks();
    if (collector.NowNs() - intended_ns >= deadline_ns) {
      collector.Drop();  // it could only fail; this also bounds how long an outrun client goes on
      continue;
    }
    if (collector.TryBegin(options.in_flight_max)) {
      Send(options, *workload, pick, intended_ns, collector, (*connections)[next_connection]);
      next_connection = (next_connection + 1) % connections->size();
    }
  }
  collector.WaitUntilIdle();
  return absl::OkStatus();
}

}  // namespace baton::load
