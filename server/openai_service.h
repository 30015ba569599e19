#pragma once

#include <atomic>
#include <memory>
#include <shared_mutex>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/http_port.h"
#include "server/rpc.h"

namespace baton {

// The engine for those who may outlive it. Thread safe.
class EngineDoor {
 public:
  explicit EngineDoor(Engine& engine) : engine_(&engine) {}

  // The engine is not called again once this returns.
  void Close() {
    const std::unique_lock lock(mutex_);
    engine_ = nullptr;
  }
  // What Submit says; UNAVAILABLE where the door is closed.
  template <class Request, class Answer>
  absl::StatusOr<RequestId> Submit(Request request, Answer answer) {
    const std::shared_lock lock(mutex_);
    if (engine_ == nullptr) return absl::UnavailableError("the daemon is stopping");
    return engine_->Submit(std::move(request), std::move(answer));
  }
  void Cancel(RequestId id) {
    const std::shared_lock lock(mutex_);
    if (engine_ != nullptr) engine_->Cancel(id);
  }
  std::vector<ModelReport> ListModels() {
    const std::shared_lock lock(mutex_);
    return engine_ == nullptr ? std::vector<ModelReport>() : engine_->ListModels();
  }

 private:
  std::shared_mutex mutex_;
  Engine* engine_;
};

// What all calls of the API share.
struct OpenAiContext {
  EngineDoor door;
  RpcMetrics& metrics;  // outlives the HTTP server's threads
  const Clock& clock;
  const int64_t stream_pending_bytes_max;
  Access& access;           // as well
  const int64_t started_s;  // since 1970
  const uint64_t id_salt;
  std::atomic<uint64_t> next_id{0};
};

// OpenAI's HTTP API over the engine: /v1/models, /v1/chat/completions, /v1/completions and
// /v1/embeddings. What it takes: openai_requests.h. Headers named as the baton-* metadata of gRPC
// say where and how a request is to run. Thread safe.
class OpenAiService final : public HttpApi {
 public:
  explicit OpenAiService(const RpcParts& parts);

  void Serve(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override;
  // New requests get 503, and the engine is not called again: it may go, with what still runs.
  void Close() { context_->door.Close(); }

 private:
  const std::shared_ptr<OpenAiContext> context_;
};

}  // namespace baton
