#include "server/http_port.h"

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/server/raw_http.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Sends `text` and reads until the other side closes.
std::string Exchange(const Address& address, const std::string& text) {
  RawConnection connection(address);
  if (!connection.connected() || !connection.Send(text)) return "";
  return connection.ReceiveAll();
}

std::string Request(const std::string& method, const std::string& path) {
  return method + " " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
}

struct Fixture {
  Metrics metrics;
  std::mutex mutex;
  absl::Status status;
  std::unique_ptr<HttpPort> port;

  Fixture() {
    auto opened = HttpPort::Open(
        {.address = {.ip = "127.0.0.1"}, .threads = 2, .metrics = &metrics, .ready = [this] {
           const std::lock_guard lock(mutex);
           return status;
         }});
    REQUIRE_OK(opened);
    port = *std::move(opened);
    REQUIRE(port->address().port != 0);
  }
  std::string Get(const std::string& path) {
    return Exchange(port->address(), Request("GET", path));
  }
};

TEST_CASE("liveness, readiness with its reason, and metrics") {
  Fixture f;
  CHECK_THAT(f.Get("/livez"), Catch::StartsWith("HTTP/1.1 200 OK") && Catch::EndsWith("alive\n"));
  CHECK_THAT(f.Get("/readyz"), Catch::StartsWith("HTTP/1.1 200 OK") && Catch::EndsWith("ready\n"));
  {
    const std::lock_guard lock(f.mutex);
    f.status = absl::UnavailableError("draining");
  }
  CHECK_THAT(f.Get("/readyz"), Catch::StartsWith("HTTP/1.1 503 Service Unavailable") &&
                                   Catch::EndsWith("not ready: draining\n"));
  CHECK_THAT(f.Get("/livez"), Catch::StartsWith("HTTP/1.1 200"));
  f.metrics.Counter(MetricId::kPointsWritten).Increment(3);
  CHECK_THAT(f.Get("/metrics"), Catch::Contains("text/plain; version=0.0.4") &&
                                    Catch::Contains("baton_points_written_total 3"));
}

TEST_CASE("nothing else is served") {
  Fixture f;
  for (const char* path : {"/", "/metrics/x", "/livezz", "/../../etc/passwd", "/%2e%2e/etc"}) {
    INFO(path);
    const std::string answer = f.Get(path);
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 404") || Catch::StartsWith("HTTP/1.1 400"));
  }
  for (const char* method : {"POST", "PUT", "DELETE", "OPTIONS"}) {
    INFO(method);
    CHECK_THAT(Exchange(f.port->address(), Request(method, "/livez")),
               Catch::StartsWith("HTTP/1.1 405"));
  }
  const std::string head = Exchange(f.port->address(), Request("HEAD", "/livez"));
  CHECK_THAT(head, Catch::StartsWith("HTTP/1.1 200") && Catch::EndsWith("\r\n\r\n"));
}

TEST_CASE("broken requests and many at once are survived") {
  Fixture f;
  Exchange(f.port->address(), "GET\r\n\r\n");
  Exchange(f.port->address(), "GET /livez HTTP/9.9\r\n\r\n");
  Exchange(f.port->address(), "GET /" + std::string(20'000, 'x') + " HTTP/1.1\r\n\r\n");
  Exchange(f.port->address(), std::string("\0\xff\x01 / HTTP/1.1\r\n\r\n", 18));
  std::vector<std::thread> clients;
  std::atomic<int> good{0};
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&] {
      for (int k = 0; k < 10; ++k) good += f.Get("/livez").starts_with("HTTP/1.1 200");
    });
  }
  for (std::thread& client : clients) client.join();
  CHECK(good == 160);
}

TEST_CASE("the API's paths are 503 until there is one, in its own shape") {
  struct Api final : HttpApi {
    void Serve(HttpRequest request, std::shared_ptr<HttpExchange> exchange) override {
      exchange->Reply({.body = "served " + request.path});
    }
  };
  Fixture f;
  {
    const std::lock_guard lock(f.mutex);
    f.status = absl::UnavailableError("starting: loading model m");
  }
  CHECK_THAT(f.Get("/v1/models"), Catch::StartsWith("HTTP/1.1 503 ") &&
                                      Catch::Contains("\"code\":\"service_unavailable\"") &&
                                      Catch::Contains("loading model m"));
  f.port->SetApi(std::make_shared<Api>());
  CHECK_THAT(f.Get("/v1/models"), Catch::EndsWith("served /v1/models"));
  f.port->SetApi(nullptr);
  CHECK_THAT(f.Get("/v1/models"), Catch::StartsWith("HTTP/1.1 503 "));
}

TEST_CASE("a port that is taken is an error that names it") {
  Fixture f;
  Metrics metrics;
  REQUIRE_STATUS(HttpPort::Open({.address = f.port->address(),
                                 .threads = 1,
                                 .metrics = &metrics,
                                 .ready = [] { return absl::OkStatus(); }}),
                 absl::StatusCode::kUnavailable,
                 "cannot listen on " + f.port->address().ToString() + " (server.http_address)");
}

}  // namespace
}  // namespace baton
