#include "server/http_server.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>
#include <thread>

#include "engine/base/strings.h"
#include "tests/server/raw_http.h"
#include "tests/support/eventually.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Answers by the path: /echo with the request, /held when the test says so, /stream with so many
// pieces as the test wants.
struct Server {
  std::mutex mutex;
  std::vector<std::shared_ptr<HttpExchange>> held;
  std::atomic<int> closed = 0;
  std::atomic<int> rooms = 0;
  std::unique_ptr<HttpServer> server;

  explicit Server(HttpServer::Options options = {}) {
    options.address = {.ip = "127.0.0.1"};
    options.handler = [this](HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
      Handle(std::move(request), std::move(exchange));
    };
    options.refusal = [](int code, std::string_view message) {
      return HttpReply{.code = code, .body = StrCat("refused: ", message)};
    };
    auto opened = HttpServer::Open(std::move(options));
    REQUIRE_OK(opened);
    server = *std::move(opened);
  }
  ~Server() { Stop(); }
  void Stop() {
    {
      const std::lock_guard lock(mutex);
      held.clear();
    }
    server->Stop();
  }

  void Handle(HttpRequest request, std::shared_ptr<HttpExchange> exchange) {
    exchange->SetWatch({.closed = [this] { ++closed; }, .room = [this] { ++rooms; }});
    if (request.path == "/held" || request.path == "/stream") {
      if (request.path == "/stream") exchange->Begin({.type = "text/event-stream"});
      const std::lock_guard lock(mutex);
      held.push_back(std::move(exchange));
      return;
    }
    std::string body = StrCat(request.method, " ", request.path, "\n");
    for (const auto& [name, value] : request.headers) body += StrCat(name, "=", value, "\n");
    exchange->Reply({.body = body + request.body});
  }
  std::shared_ptr<HttpExchange> Held() {
    REQUIRE(Eventually([this] {
      const std::lock_guard lock(mutex);
      return !held.empty();
    }));
    const std::lock_guard lock(mutex);
    auto exchange = held.back();
    held.pop_back();
    return exchange;
  }
  const Address& address() const { return server->address(); }
};

TEST_CASE("requests follow each other on one connection") {
  Server server;
  RawConnection connection(server.address());
  REQUIRE(connection.Send("GET /echo?x=1 HTTP/1.1\r\nHost: h\r\nX-Two: b\r\n\r\n"));
  const std::string first = connection.ReceiveUntil("x-two=b\n");
  CHECK_THAT(first, Catch::StartsWith("HTTP/1.1 200 OK\r\n") && Catch::Contains("GET /echo\n") &&
                        Catch::Contains("Connection: keep-alive"));
  // Both at once, in pieces.
  REQUIRE(connection.Send("POST /echo HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel"));
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  REQUIRE(connection.Send("loGET http://host/echo2 HTTP/1.1\r\nConnection: close\r\n\r\n"));
  const std::string rest = connection.ReceiveAll();
  CHECK_THAT(rest, Catch::Contains("POST /echo\n") && Catch::Contains("hello") &&
                       Catch::Contains("GET /echo2\n") && Catch::Contains("Connection: close"));
}

TEST_CASE("a chunked body is put together and 100-continue is answered") {
  Server server;
  RawConnection connection(server.address());
  REQUIRE(
      connection.Send("POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n"
                      "Expect: 100-continue\r\nConnection: close\r\n\r\n"));
  CHECK_THAT(connection.ReceiveUntil("\r\n\r\n"), Catch::StartsWith("HTTP/1.1 100 Continue"));
  REQUIRE(connection.Send("3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"));
  CHECK_THAT(connection.ReceiveAll(), Catch::EndsWith("abcde"));
}

TEST_CASE("a head that floods and a body that is too long are refused with their limits") {
  Server server({.body_bytes_max = 1000});
  SECTION("one long header") {
    RawConnection connection(server.address());
    connection.Send("GET / HTTP/1.1\r\nX: " + std::string(1 << 20, 'x'));
    CHECK_THAT(connection.ReceiveAll(),
               Catch::StartsWith("HTTP/1.1 431 ") && Catch::Contains("longer than 16384 bytes"));
  }
  SECTION("many headers") {
    RawConnection connection(server.address());
    std::string head = "GET / HTTP/1.1\r\n";
    for (int i = 0; i < 5000; ++i) head += StrCat("X-", i, ": 1\r\n");
    connection.Send(head);
    CHECK_THAT(connection.ReceiveAll(), Catch::StartsWith("HTTP/1.1 431 "));
  }
  SECTION("a length that is announced") {
    RawConnection connection(server.address());
    // All of it is sent: the answer is not lost with what nobody reads.
    connection.Send("POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" +
                    std::string(200'000, 'x'));
    CHECK_THAT(connection.ReceiveAll(),
               Catch::StartsWith("HTTP/1.1 413 ") &&
                   Catch::Contains("server.http_body_bytes_max = 1000 bytes"));
  }
  SECTION("chunks that add up") {
    RawConnection connection(server.address());
    std::string body = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (int i = 0; i < 30; ++i) body += "40\r\n" + std::string(64, 'x') + "\r\n";
    connection.Send(body);
    CHECK_THAT(connection.ReceiveAll(), Catch::StartsWith("HTTP/1.1 413 "));
  }
  RawConnection other(server.address());
  other.Send("GET /fine HTTP/1.0\r\n\r\n");
  CHECK_THAT(other.ReceiveAll(), Catch::Contains("GET /fine\n"));
}

TEST_CASE("what is not HTTP is refused") {
  Server server;
  const std::map<std::string, std::string> answers = {
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/1.1 505 "},
      {"GET / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
       "HTTP/1.1 400 "},
      {"POST / HTTP/1.1\r\nContent-Length: -3\r\n\r\n", "HTTP/1.1 400 "},
      {"no such\r\n\r\n", "HTTP/1.1 400 "},
  };
  for (const auto& [text, answer] : answers) {
    INFO(text);
    RawConnection connection(server.address());
    connection.Send(text);
    CHECK_THAT(connection.ReceiveAll(), Catch::StartsWith(answer));
  }
}

TEST_CASE("a client that goes is noticed while its answer is computed") {
  Server server;
  for (const char* path : {"/held", "/stream"}) {
    INFO(path);
    const int before = server.closed;
    RawConnection connection(server.address());
    connection.Send(StrCat("GET ", path, " HTTP/1.1\r\n\r\n"));
    const auto exchange = server.Held();
    CHECK(server.closed == before);
    connection.Close();
    CHECK(Eventually([&] { return server.closed == before + 1; }));
    // What comes too late is nobody's.
    std::atomic<bool> ran = false;
    exchange->Post([&] {
      exchange->Write("late");
      exchange->Reply({.body = "late"});
      ran = true;
    });
    CHECK(Eventually([&] { return ran.load(); }));
  }
}

TEST_CASE("a stream is chunks for 1.1 and ends with the connection for 1.0") {
  Server server;
  for (const bool old : {false, true}) {
    INFO(old);
    RawConnection connection(server.address());
    connection.Send(old ? "GET /stream HTTP/1.0\r\n\r\n"
                        : "GET /stream HTTP/1.1\r\nConnection: close\r\n\r\n");
    const auto exchange = server.Held();
    for (const char* piece : {"one,", "two,"}) {
      exchange->Post([exchange, piece] { exchange->Write(piece); });
    }
    exchange->Post([exchange] { exchange->End(); });
    const std::string answer = connection.ReceiveAll();
    if (old) {
      CHECK_THAT(answer, Catch::EndsWith("one,two,"));
    } else {
      CHECK_THAT(answer, Catch::Contains("Transfer-Encoding: chunked") &&
                             Catch::EndsWith("4\r\none,\r\n4\r\ntwo,\r\n0\r\n\r\n"));
    }
  }
}

TEST_CASE("a client that does not read holds up nobody, and room is told") {
  Server server({.threads = 1});
  RawConnection slow(server.address(), 4096);
  slow.Send("GET /stream HTTP/1.1\r\nConnection: close\r\n\r\n");
  const auto exchange = server.Held();
  constexpr size_t kBytes = 32 << 20;
  std::atomic<size_t> unsent = 0;
  exchange->Post([&] {
    exchange->Write(std::string(kBytes, 'x'));
    unsent = exchange->unsent_bytes();
  });
  for (int i = 0; i < 20; ++i) {
    RawConnection other(server.address());
    other.Send("GET /other HTTP/1.0\r\n\r\n");
    CHECK_THAT(other.ReceiveAll(), Catch::Contains("GET /other\n"));
  }
  CHECK(unsent > kBytes / 2);
  const int rooms = server.rooms;
  exchange->Post([exchange] { exchange->End(); });
  CHECK(slow.ReceiveAll().size() > kBytes);
  CHECK(server.rooms >= rooms);
  CHECK(server.closed == 0);
}

TEST_CASE("where all connections are in use those that wait give way, or the next is told") {
  Server server({.connections_max = 2});
  RawConnection idle(server.address());
  RawConnection busy(server.address());
  busy.Send("GET /held HTTP/1.1\r\n\r\n");
  const auto first = server.Held();
  RawConnection third(server.address());
  third.Send("GET /held HTTP/1.1\r\n\r\n");
  CHECK(idle.ReceiveAll().empty());  // closed
  const auto second = server.Held();
  RawConnection fourth(server.address());
  CHECK_THAT(fourth.ReceiveAll(), Catch::StartsWith("HTTP/1.1 503 ") &&
                                      Catch::Contains("server.http_connections_max = 2"));
  first->Post([first] { first->Reply({.body = "done"}); });
  CHECK_THAT(busy.ReceiveUntil("done"), Catch::EndsWith("done"));
}

TEST_CASE("stopping closes what waits and lets an answer be written") {
  Server server;
  RawConnection idle(server.address());
  idle.Send("GET /echo HTTP/1.1\r\n\r\n");
  idle.ReceiveUntil("/echo\n");
  RawConnection busy(server.address());
  busy.Send("GET /held HTTP/1.1\r\n\r\n");
  auto exchange = server.Held();
  exchange->Post([exchange] { exchange->Reply({.body = "last words"}); });
  exchange.reset();
  server.Stop();
  CHECK(idle.ReceiveAll().empty());
  CHECK_THAT(busy.ReceiveAll(), Catch::EndsWith("last words"));
  CHECK_FALSE(RawConnection(server.address()).connected());
}

// ---- TLS

// A certificate that signs itself, for "localhost".
std::shared_ptr<SSL_CTX> ServerContext() {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* certificate = X509_new();
  X509_set_version(certificate, 2);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate), 0);
  X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
  X509_set_pubkey(certificate, key);
  X509_NAME* name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
  X509_set_issuer_name(certificate, name);
  X509_sign(certificate, key, EVP_sha256());
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_use_certificate(context.get(), certificate);
  SSL_CTX_use_PrivateKey(context.get(), key);
  X509_free(certificate);
  EVP_PKEY_free(key);
  return context;
}

TEST_CASE("with TLS the same is served, encrypted, and what is not TLS is closed") {
  const std::shared_ptr<SSL_CTX> context = ServerContext();
  Server server({.tls = [context] { return context; }});
  const std::shared_ptr<SSL_CTX> client(SSL_CTX_new(TLS_client_method()), SSL_CTX_free);
  BIO* bio = BIO_new_ssl_connect(client.get());
  BIO_set_conn_hostname(bio, server.address().ToString().c_str());
  REQUIRE(BIO_do_connect(bio) == 1);
  REQUIRE(BIO_do_handshake(bio) == 1);
  const std::string text = "GET /secret HTTP/1.1\r\nConnection: close\r\n\r\n";
  REQUIRE(BIO_write(bio, text.data(), static_cast<int>(text.size())) ==
          static_cast<int>(text.size()));
  std::string answer;
  char buffer[4096];
  for (int n = 0; (n = BIO_read(bio, buffer, sizeof(buffer))) > 0;) {
    answer.append(buffer, static_cast<size_t>(n));
  }
  BIO_free_all(bio);
  CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 200 OK") && Catch::Contains("GET /secret\n"));

  RawConnection plain(server.address());
  plain.Send("GET / HTTP/1.1\r\n\r\n");
  CHECK_THAT(plain.ReceiveAll(), !Catch::Contains("HTTP/1.1 200"));
}

}  // namespace
}  // namespace baton
