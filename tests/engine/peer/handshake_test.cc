#include "engine/peer/handshake.h"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <string>

#include "tests/support/status_matchers.h"
#include "tests/support/temp_dir.h"

namespace baton {
namespace {

using Side = PeerSecret::Side;

struct Pair {
  PeerSecret client_secret{"0123456789abcdef"};
  PeerSecret server_secret{"0123456789abcdef"};
  PeerHandshake client{&client_secret, Side::kClient, *DrawNonce(), 11};
  PeerHandshake server{&server_secret, Side::kServer, *DrawNonce(), 22};
};

TEST_CASE("two that know the secret agree on tokens") {
  Pair pair;
  const auto challenge = pair.server.OnMessage(pair.client.Begin());
  REQUIRE_OK(challenge);
  const auto answer = pair.client.OnMessage(**challenge);
  REQUIRE_OK(answer);
  CHECK_FALSE(pair.client.done());
  const auto welcome = pair.server.OnMessage(**answer);
  REQUIRE_OK(welcome);
  REQUIRE(pair.server.done());
  const auto end = pair.client.OnMessage(**welcome);
  REQUIRE_OK(end);
  CHECK_FALSE(end->has_value());
  REQUIRE(pair.client.done());
  CHECK(pair.client.token_out() == pair.server.token_in());
  CHECK(pair.client.token_in() == pair.server.token_out());
  CHECK(pair.client.token_in() != pair.client.token_out());
  CHECK(pair.client.peer_generation() == 22);
  CHECK(pair.server.peer_generation() == 11);
}

TEST_CASE("who does not know the secret is refused by either side") {
  Pair pair;
  pair.client_secret = PeerSecret("fedcba9876543210");
  const auto challenge = pair.server.OnMessage(pair.client.Begin());
  REQUIRE_OK(challenge);
  REQUIRE_STATUS(pair.client.OnMessage(**challenge), absl::StatusCode::kPermissionDenied,
                 "peer.secret_file");
  // One that answers all the same.
  REQUIRE_STATUS(pair.server.OnMessage(PeerAnswer{}), absl::StatusCode::kPermissionDenied,
                 "peer.secret_file");
  CHECK_FALSE(pair.server.done());
}

TEST_CASE("a server's own proof, sent back to it, proves nothing") {
  Pair pair;
  const auto challenge = pair.server.OnMessage(pair.client.Begin());
  REQUIRE_OK(challenge);
  REQUIRE_STATUS(
      pair.server.OnMessage(PeerAnswer{.proof = std::get<PeerChallenge>(**challenge).proof}),
      absl::StatusCode::kPermissionDenied, "");
}

TEST_CASE("a proof of another link is refused") {
  Pair one;
  Pair two;
  const auto first = one.client.OnMessage(**one.server.OnMessage(one.client.Begin()));
  REQUIRE_OK(first);
  REQUIRE_OK(two.server.OnMessage(two.client.Begin()));
  REQUIRE_STATUS(two.server.OnMessage(**first), absl::StatusCode::kPermissionDenied, "");
}

TEST_CASE("messages out of turn and of another version are refused") {
  Pair pair;
  REQUIRE_STATUS(pair.server.OnMessage(PeerAnswer{}), absl::StatusCode::kInvalidArgument,
                 "out of turn");
  REQUIRE_STATUS(pair.client.OnMessage(PeerWelcome{}), absl::StatusCode::kInvalidArgument,
                 "out of turn");
  REQUIRE_STATUS(pair.server.OnMessage(PeerHello{.version = 99}),
                 absl::StatusCode::kFailedPrecondition, "version 99");
}

TEST_CASE("a secret is read from its file, and bad files are named") {
  TempDir dir;
  const auto read = PeerSecret::Read(dir.Write("good", "0123456789abcdef\n"));
  REQUIRE_OK(read);
  const PeerSecret same("0123456789abcdef");
  CHECK(read->Prove({}, Side::kClient) == same.Prove({}, Side::kClient));
  CHECK(read->Prove({}, Side::kClient) != read->Prove({}, Side::kServer));
  REQUIRE_STATUS(PeerSecret::Read(dir.File("absent")), absl::StatusCode::kInvalidArgument,
                 "peer.secret_file: cannot read");
  REQUIRE_STATUS(PeerSecret::Read(dir.Write("short", "0123456789abcde\n\n")),
                 absl::StatusCode::kInvalidArgument, "must hold 16 to 4096 bytes, but holds 15");
  REQUIRE_STATUS(PeerSecret::Read(dir.Write("long", std::string(5000, 'x'))),
                 absl::StatusCode::kInvalidArgument, "but holds more");
}

}  // namespace
}  // namespace baton
