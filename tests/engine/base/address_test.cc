#include "engine/base/address.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("numeric addresses are taken, and localhost without a look-up") {
  const auto v4 = ParseAddress("key", "127.0.0.1:50051");
  REQUIRE_OK(v4);
  CHECK(v4->ip == "127.0.0.1");
  CHECK(v4->port == 50051);
  CHECK(v4->ToString() == "127.0.0.1:50051");
  const auto v6 = ParseAddress("key", "[::1]:0");
  REQUIRE_OK(v6);
  CHECK(v6->v6);
  CHECK(v6->ToString() == "[::1]:0");
  REQUIRE(ParseAddress("key", "localhost:7")->ToString() == "127.0.0.1:7");
  REQUIRE(ParseAddress("key", "0.0.0.0:65535")->port == 65535);
}

TEST_CASE("anything else is refused, naming the key") {
  for (const char* text : {"", "127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:65536", "127.0.0.1:-1",
                           "127.0.0.1:x", "127.0.0.1:80 ", "example.org:80", "::1:80", "[::1]",
                           "[127.0.0.1]:80", "[]:80", "256.0.0.1:80", "unix:/tmp/socket"}) {
    INFO(text);
    REQUIRE_STATUS(ParseAddress("server.grpc_address", text), absl::StatusCode::kInvalidArgument,
                   "server.grpc_address must be IP:PORT");
  }
}

TEST_CASE("a port that somebody listens on is named") {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&in), sizeof(in)) == 0);
  REQUIRE(listen(fd, 1) == 0);
  socklen_t length = sizeof(in);
  getsockname(fd, reinterpret_cast<sockaddr*>(&in), &length);
  Address address{.ip = "127.0.0.1", .port = ntohs(in.sin_port)};
  REQUIRE_STATUS(CheckBindable("server.grpc_address", address), absl::StatusCode::kUnavailable,
                 "cannot listen on " + address.ToString() +
                     " (server.grpc_address): bind: Address already in use");
  close(fd);
  REQUIRE_OK(CheckBindable("server.grpc_address", address));
  address.ip = "203.0.113.7";  // a documentation address: nobody has it
  REQUIRE_STATUS(CheckBindable("key", address), absl::StatusCode::kUnavailable, "203.0.113.7");
}

TEST_CASE("what only this machine reaches") {
  for (const char* text :
       {"127.0.0.1:1", "127.8.9.1:1", "localhost:1", "[::1]:1", "[0:0:0:0:0:0:0:1]:1"}) {
    INFO(text);
    CHECK(ParseAddress("key", text)->is_loopback());
  }
  for (const char* text :
       {"0.0.0.0:1", "10.0.0.1:1", "128.0.0.1:1", "[::]:1", "[fe80::1]:1", "[::ffff:10.0.0.1]:1"}) {
    INFO(text);
    CHECK_FALSE(ParseAddress("key", text)->is_loopback());
  }
}

}  // namespace
}  // namespace baton
