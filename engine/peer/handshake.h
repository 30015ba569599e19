#pragma once

#include <cstdint>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/peer/message.h"
#include "engine/peer/secret.h"

namespace baton {

// How two daemons prove to each other that they know the secret, without saying it:
//
//   client: Hello(nonce) -> server: Challenge(nonce, proof) -> client: Answer(proof) -> server:
//   Welcome, in an envelope with the token
//
// A proof is an HMAC over both nonces and generations. Pure: what it returns is to be sent.
class PeerHandshake {
 public:
  PeerHandshake(const PeerSecret* secret, PeerSecret::Side side, PeerNonce nonce,
                uint64_t generation);

  // What the client says first.
  PeerMessage Begin() const;
  // What to say to what has come, or nothing. PERMISSION_DENIED: the other side does not know the
  // secret. FAILED_PRECONDITION: it speaks another version. INVALID_ARGUMENT: out of turn.
  absl::StatusOr<std::optional<PeerMessage>> OnMessage(const PeerMessage& message);

  // Of the client: with the Welcome; of the server: when it has said it.
  bool done() const { return done_; }
  // In the envelopes of what comes, and of what is sent. All zero before both sides are known.
  const PeerToken& token_in() const { return token_in_; }
  const PeerToken& token_out() const { return token_out_; }
  uint64_t peer_generation() const {
    return side_ == PeerSecret::Side::kClient ? session_.server_generation
                                              : session_.client_generation;
  }

 private:
  void SetTokens();

  const PeerSecret* secret_;
  PeerSecret::Side side_;
  PeerSecret::Session session_;
  enum class Awaits : uint8_t { kHello, kChallenge, kAnswer, kWelcome, kNothing } awaits_;
  bool done_ = false;
  PeerToken token_in_ = {};
  PeerToken token_out_ = {};
};

}  // namespace baton
