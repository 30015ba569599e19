#include "tests/loadtest/scripted_server.h"

#include <atomic>
#include <utility>

#include "catch2/catch.hpp"

namespace baton::load {
namespace {

using std::chrono::steady_clock;

steady_clock::duration Ms(double ms) {
  return std::chrono::duration_cast<steady_clock::duration>(
      std::chrono::duration<double, std::milli>(ms));
}

}  // namespace

// One streamed answer. Its acts run on the timer's thread, its callbacks on gRPC's; the count of
// both keeps it alive.
template <class Response>
class ScriptedServer::Stream final : public grpc::ServerWriteReactor<Response> {
 public:
  Stream(ScriptedServer& server, grpc::CallbackServerContext* context, std::string tenant,
         Planned planned)
      : server_(server), context_(context), tenant_(std::move(tenant)), planned_(planned) {
    if constexpr (std::is_same_v<Response, v1::AskResponse>) {
      response_.mutable_retrieved();
      this->StartWrite(&response_);  // what comes next waits for it
      retrieved_ = true;
    }
    if (!retrieved_) Next();
  }

  void OnWriteDone(bool ok) override {
    if (ok) {
      Next();
    } else {
      this->Finish(grpc::Status::CANCELLED);
    }
  }
  void OnDone() override {
    server_.Keep(tenant_, std::move(stamps_));
    delete this;
  }
  void OnCancel() override {
    if (planned_.script.hang) this->Finish(grpc::Status::CANCELLED);
  }

 private:
  // Plans the next write, or the end.
  void Next() {
    const Script& script = planned_.script;
    if (script.hang) return;
    const bool refuses = !script.status.ok();
    const int written = static_cast<int>(stamps_.writes.size());
    if (!refuses && written < script.messages) {
      const double after_ms = script.first_ms + written * script.gap_ms;
      server_.At(planned_.begin + Ms(after_ms), [this] { Write(); });
    } else {
      const double after_ms = script.first_ms + std::max(written - 1, 0) * script.gap_ms;
      server_.At(planned_.begin + Ms(after_ms), [this] { End(); });
    }
  }

  void Write() {
    response_.Clear();
    for (int i = 0; i < planned_.script.tokens_per_message; ++i) {
      response_.mutable_tokens()->add_ids(i);
    }
    stamps_.writes.push_back(steady_clock::now());
    this->StartWrite(&response_);
  }

  void End() {
    stamps_.finished = steady_clock::now();
    if (!planned_.script.status.ok()) {
      if (planned_.script.retry_after_ms >= 0) {
        context_->AddTrailingMetadata("baton-retry-after-ms",
                                      std::to_string(planned_.script.retry_after_ms));
      }
      this->Finish(planned_.script.status);
    } else if (planned_.script.finish) {
      response_.Clear();
      auto* finished = response_.mutable_finished();
      finished->set_prompt_tokens(7);
      v1::Stage* stage = finished->mutable_timings()->add_stages();
      stage->set_name("decode");
      stage->mutable_route()->set_platform(v1::PLATFORM_CPU);
      stage->set_queue_us(2'000);
      stage->set_run_us(3'000);
      this->StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      this->Finish(grpc::Status::OK);
    }
  }

  ScriptedServer& server_;
  grpc::CallbackServerContext* const context_;
  const std::string tenant_;
  const Planned planned_;
  Response response_;
  ServerStamps stamps_;
  bool retrieved_ = false;
};

class ScriptedServer::Rag final : public v1::RagService::CallbackService {
 public:
  explicit Rag(ScriptedServer& server) : server_(server) {}
  grpc::ServerWriteReactor<v1::AskResponse>* Ask(grpc::CallbackServerContext* context,
                                                 const v1::AskRequest* request) override {
    Planned planned = server_.Plan();
    if (request->collection() != "c" || request->question() != "Why?") {
      planned.script.status = {grpc::StatusCode::INVALID_ARGUMENT, "not what was asked for"};
    }
    return new Stream<v1::AskResponse>(server_, context, request->options().tenant(), planned);
  }

 private:
  ScriptedServer& server_;
};

class ScriptedServer::Vectors final : public v1::VectorService::CallbackService {
 public:
  explicit Vectors(ScriptedServer& server) : server_(server) {}

  grpc::ServerUnaryReactor* DescribeCollection(grpc::CallbackServerContext* context,
                                               const v1::DescribeCollectionRequest*,
                                               v1::DescribeCollectionResponse* response) override {
    response->mutable_collection()->mutable_spec()->set_dimension(6);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  grpc::ServerUnaryReactor* Search(grpc::CallbackServerContext* context,
                                   const v1::SearchRequest* request,
                                   v1::SearchResponse* response) override {
    // An exact search finds 1 to k; another one misses the last.
    const int found = request->params().k() - (request->params().exact() ? 0 : 1);
    for (int i = 1; i <= found; ++i) {
      response->add_points()->set_id(static_cast<uint64_t>(i));
    }
    const grpc::Status status = request->vector_size() == 6
                                    ? grpc::Status::OK
                                    : grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "dimension");
    return Answer(context, request->options().tenant(), status);
  }

  grpc::ServerUnaryReactor* SearchBatch(grpc::CallbackServerContext* context,
                                        const v1::SearchBatchRequest* request,
                                        v1::SearchBatchResponse*) override {
    return Answer(context, std::to_string(request->queries_size()), grpc::Status::OK);
  }

  grpc::ServerUnaryReactor* Upsert(grpc::CallbackServerContext* context,
                                   const v1::UpsertRequest* request, v1::UpsertResponse*) override {
    std::string ids;
    for (const auto& point : request->points()) ids += std::to_string(point.id()) + " ";
    return Answer(context, ids, grpc::Status::OK);
  }

 private:
  grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context, const std::string& tenant,
                                   const grpc::Status& wrong) {
    auto* reactor = context->DefaultReactor();
    const Planned planned = server_.Plan();
    server_.At(planned.begin + Ms(planned.script.first_ms),
               [this, context, reactor, tenant, wrong, planned] {
                 if (planned.script.retry_after_ms >= 0) {
                   context->AddTrailingMetadata("baton-retry-after-ms",
                                                std::to_string(planned.script.retry_after_ms));
                 }
                 ServerStamps stamps;
                 stamps.finished = steady_clock::now();
                 server_.Keep(tenant, stamps);
                 reactor->Finish(wrong.ok() ? planned.script.status : wrong);
               });
    return reactor;
  }

  ScriptedServer& server_;
};

ScriptedServer::ScriptedServer(std::function<Script(int64_t)> script, bool serial)
    : script_(std::move(script)),
      serial_(serial),
      rag_(std::make_unique<Rag>(*this)),
      vectors_(std::make_unique<Vectors>(*this)),
      free_at_(steady_clock::now()) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
  builder.RegisterService(this);
  builder.RegisterService(rag_.get());
  builder.RegisterService(vectors_.get());
  server_ = builder.BuildAndStart();
  REQUIRE(server_ != nullptr);
  target_ = "127.0.0.1:" + std::to_string(port);
  timer_ = std::thread([this] { Run(); });
}

ScriptedServer::~ScriptedServer() {
  Kill();
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
    wake_.notify_one();
  }
  timer_.join();
}

void ScriptedServer::Kill() {
  // Calls that a script has not ended yet get their status from their acts, which go on.
  server_->Shutdown(std::chrono::system_clock::now());
  server_->Wait();
}

ScriptedServer::Planned ScriptedServer::Plan() {
  std::lock_guard lock(mutex_);
  Planned planned{script_(requests_++), steady_clock::now()};
  if (serial_) {
    planned.begin = std::max(planned.begin, free_at_);
    free_at_ = planned.begin + Ms(planned.script.first_ms +
                                  std::max(planned.script.messages - 1, 0) * planned.script.gap_ms);
  }
  return planned;
}

void ScriptedServer::At(Time time, std::function<void()> act) {
  std::lock_guard lock(mutex_);
  acts_.push({time, acts_made_++, std::move(act)});
  wake_.notify_one();
}

void ScriptedServer::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (acts_.empty()) {
      if (stop_) return;
      wake_.wait(lock);
      continue;
    }
    const Time time = acts_.top().time;
    if (steady_clock::now() < time) {
      wake_.wait_until(lock, time);
      continue;
    }
    const std::function<void()> act = acts_.top().act;
    acts_.pop();
    lock.unlock();
    act();
    lock.lock();
  }
}

void ScriptedServer::Keep(const std::string& tenant, ServerStamps stamps) {
  std::lock_guard lock(mutex_);
  stamps_[tenant] = std::move(stamps);
}

std::map<std::string, ServerStamps> ScriptedServer::stamps() {
  std::lock_guard lock(mutex_);
  return stamps_;
}

int64_t ScriptedServer::requests() {
  std::lock_guard lock(mutex_);
  return requests_;
}

grpc::ServerWriteReactor<v1::GenerateResponse>* ScriptedServer::Generate(
    grpc::CallbackServerContext* context, const v1::GenerateRequest* request) {
  return new Stream<v1::GenerateResponse>(*this, context, request->options().tenant(), Plan());
}

}  // namespace baton::load
