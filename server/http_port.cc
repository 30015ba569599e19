#include "server/http_port.h"

#include <string>
#include <string_view>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "prometheus/text_serializer.h"
#include "server/openai_errors.h"

namespace baton {

absl::StatusOr<std::unique_ptr<HttpPort>> HttpPort::Open(Options options) {
  std::unique_ptr<HttpPort> port(new HttpPort(std::move(options)));
  const Options& opened = port->options_;
  ASSIGN_OR_RETURN(
      port->server_,
      HttpServer::Open(
          {.address = opened.address,
           .threads = opened.threads,
           .connections_max = opened.connections_max,
           .body_bytes_max = opened.body_bytes_max,
           .handler =
               [self = port.get()](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
                 self->Handle(std::move(request), std::move(exchange));
               },
           .refusal = OpenAiRefusal,
           .tls = opened.tls}));
  return port;
}

void HttpPort::SetApi(std::shared_ptr<HttpApi> api) {
  const std::lock_guard lock(mutex_);
  api_.swap(api);
}

void HttpPort::Stop() {
  if (server_ != nullptr) server_->Stop();
  SetApi(nullptr);
}

void HttpPort::Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
  if (request.path.starts_with("/v1/")) {
    std::shared_ptr<HttpApi> api;
    {
      const std::lock_guard lock(mutex_);
      api = api_;
    }
    if (api != nullptr) return api->Serve(std::move(request), std::move(exchange));
    const absl::Status ready = options_.ready();
    exchange->Reply(OpenAiError(ready.ok() ? absl::UnavailableError("starting") : ready));
    return;
  }
  if (request.method == "GET" || request.method == "HEAD") {
    exchange->Reply(Answer(request.path));
  } else {
    exchange->Reply(
        {.code = 405, .headers = {{"Allow", "GET, HEAD"}}, .body = "only GET and HEAD\n"});
  }
}

HttpReply HttpPort::Answer(std::string_view path) const {
  if (path == "/livez") return {.body = "alive\n"};
  if (path == "/readyz" || path == "/health") {
    const absl::Status ready = options_.ready();
    if (ready.ok()) return {.body = "ready\n"};
    return {.code = 503, .body = StrCat("not ready: ", std::string(ready.message()), "\n")};
  }
  if (path == "/metrics") {
    return {
        .type = "text/plain; version=0.0.4; charset=utf-8",
        .body = prometheus::TextSerializer().Serialize(options_.metrics->registry()->Collect())};
  }
  return {.code = 404, .body = "not found; there are /metrics, /livez, /readyz and /v1\n"};
}

}  // namespace baton
