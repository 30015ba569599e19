#pragma once

#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/metrics.h"
#include "server/http_server.h"

namespace baton {

// What answers the paths below /v1. Called on the HTTP server's threads; must not block.
class HttpApi {
 public:
  virtual ~HttpApi() = default;
  virtual void Serve(HttpRequest request, std::shared_ptr<HttpExchange> exchange) = 0;
};

// The HTTP port: /metrics in Prometheus' text format; /livez, which is 200 while the process
// answers; /readyz (and /health, other servers' name for it), which is 200 while it can take
// requests and else 503 with the reason; and /v1, once there is an API. It is open before anything
// else is built, so that a daemon that loads for minutes is alive and not ready. Threads:
// HttpServer's. Thread safe.
class HttpPort {
 public:
  struct Options {
    Address address;
    int threads = 2;
    int64_t connections_max = 1024;
    int64_t body_bytes_max = 16 << 20;
    const Metrics* metrics = nullptr;                            // outlives this
    std::function<absl::Status()> ready;                         // called on any thread
    std::function<std::shared_ptr<ssl_ctx_st>()> tls = nullptr;  // as HttpServer's
  };

  static absl::StatusOr<std::unique_ptr<HttpPort>> Open(Options options);
  ~HttpPort() { Stop(); }
  HttpPort(const HttpPort&) = delete;
  HttpPort& operator=(const HttpPort&) = delete;

  // The address with the port that was bound.
  const Address& address() const { return server_->address(); }

  // What answers /v1 from now on; null: nothing, which is 503 with why the daemon is not ready.
  void SetApi(std::shared_ptr<HttpApi> api);
  // As HttpServer's; the API is let go of.
  void Stop();

 private:
  explicit HttpPort(Options options) : options_(std::move(options)) {}
  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange);
  HttpReply Answer(std::string_view path) const;

  const Options options_;
  std::mutex mutex_;
  std::shared_ptr<HttpApi> api_;
  std::unique_ptr<HttpServer> server_;
};

}  // namespace baton
