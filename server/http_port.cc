#include "server/http_port.h"

#include <atomic>
#include <chrono>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "civetweb.h"
#include "engine/base/strings.h"
#include "prometheus/text_serializer.h"

namespace baton {

struct HttpPort::Impl {
  Options options;
  mg_context* server = nullptr;

  ~Impl() {
    if (server != nullptr) Stop();
    mg_exit_library();
  }

  // civetweb notices only every two seconds that it is to stop, or when somebody connects.
  void Stop() {
    std::atomic<bool> stopped = false;
    std::thread knocker([&] {
      while (!stopped) {
        mg_connection* knock =
            mg_connect_client(options.address.ip.c_str(), options.address.port, 0, nullptr, 0);
        if (knock != nullptr) mg_close_connection(knock);
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
      }
    });
    mg_stop(server);
    stopped = true;
    knocker.join();
  }
};

namespace {

struct Reply {
  int code = 200;
  std::string_view reason = "OK";
  std::string_view type = "text/plain; charset=utf-8";
  std::string body;
};

Reply Answer(std::string_view path, const HttpPort::Options& options) {
  if (path == "/livez") return {.body = "alive\n"};
  if (path == "/readyz") {
    const absl::Status ready = options.ready();
    if (ready.ok()) return {.body = "ready\n"};
    return {.code = 503,
            .reason = "Service Unavailable",
            .body = StrCat("not ready: ", std::string(ready.message()), "\n")};
  }
  if (path == "/metrics") {
    return {.type = "text/plain; version=0.0.4; charset=utf-8",
            .body = prometheus::TextSerializer().Serialize(options.metrics->registry()->Collect())};
  }
  return {.code = 404,
          .reason = "Not Found",
          .body = "not found; there are /metrics, /livez and /readyz\n"};
}

int Handle(mg_connection* connection, void* impl) {
  const auto& options =
      static_cast<const HttpPort::Options&>(*static_cast<HttpPort::Options*>(impl));
  const mg_request_info* request = mg_get_request_info(connection);
  const std::string_view method = request->request_method;
  Reply reply;
  if (method == "GET" || method == "HEAD") {
    reply = Answer(request->local_uri == nullptr ? "" : request->local_uri, options);
  } else {
    reply = {.code = 405, .reason = "Method Not Allowed", .body = "only GET and HEAD\n"};
  }
  const std::string head =
      StrCat("HTTP/1.1 ", reply.code, " ", reply.reason, "\r\nContent-Type: ", reply.type,
             "\r\nContent-Length: ", reply.body.size(),
             "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
  mg_write(connection, head.data(), head.size());
  if (method != "HEAD") mg_write(connection, reply.body.data(), reply.body.size());
  return reply.code;
}

}  // namespace

HttpPort::HttpPort(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpPort::~HttpPort() = default;

const Address& HttpPort::address() const { return impl_->options.address; }

absl::StatusOr<std::unique_ptr<HttpPort>> HttpPort::Open(Options options) {
  mg_init_library(0);
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);

  const std::string port = impl->options.address.ToString();
  const std::string threads = StrCat(impl->options.threads);
  // No document root: nothing of the disk is served.
  const char* settings[] = {"listening_ports",
                            port.c_str(),
                            "num_threads",
                            threads.c_str(),
                            "connection_queue",
                            "32",
                            "request_timeout_ms",
                            "5000",
                            "enable_keep_alive",
                            "no",
                            "enable_directory_listing",
                            "no",
                            nullptr};
  char error[256] = "";
  mg_error_data failure{};
  failure.text = error;
  failure.text_buffer_size = sizeof(error);
  const mg_callbacks callbacks{};
  mg_init_data init{};
  init.callbacks = &callbacks;
  init.configuration_options = settings;
  impl->server = mg_start2(&init, &failure);
  if (impl->server == nullptr) {
    return absl::UnavailableError(
        StrCat("cannot listen on ", port, " (server.http_address): ", error));
  }
  mg_set_request_handler(impl->server, "**", Handle, &impl->options);
  mg_server_port bound{};
  if (mg_get_server_ports(impl->server, 1, &bound) != 1) {
    return absl::InternalError(StrCat("no port was bound for ", port, " (server.http_address)"));
  }
  impl->options.address.port = static_cast<uint16_t>(bound.port);
  return std::unique_ptr<HttpPort>(new HttpPort(std::move(impl)));
}

}  // namespace baton
