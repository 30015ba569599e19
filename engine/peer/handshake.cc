#include "engine/peer/handshake.h"

#include "engine/base/strings.h"

namespace baton {
namespace {

absl::Status CheckVersion(uint32_t version) {
  if (version == kPeerVersion) return absl::OkStatus();
  return absl::FailedPreconditionError(
      StrCat("it speaks version ", version, ", but this daemon version ", kPeerVersion));
}

absl::Status WrongSecret() {
  return absl::PermissionDeniedError("it does not know the secret of peer.secret_file");
}

}  // namespace

PeerHandshake::PeerHandshake(const PeerSecret* secret, PeerSecret::Side side, PeerNonce nonce,
                             uint64_t generation)
    : secret_(secret), side_(side) {
  if (side == PeerSecret::Side::kClient) {
    session_.client_nonce = nonce;
    session_.client_generation = generation;
    awaits_ = Awaits::kChallenge;
  } else {
    session_.server_nonce = nonce;
    session_.server_generation = generation;
    awaits_ = Awaits::kHello;
  }
}

PeerMessage PeerHandshake::Begin() const {
  return PeerHello{.nonce = session_.client_nonce, .generation = session_.client_generation};
}

void PeerHandshake::SetTokens() {
  using enum PeerSecret::Side;
  token_out_ = secret_->Token(session_, side_);
  token_in_ = secret_->Token(session_, side_ == kClient ? kServer : kClient);
}

absl::StatusOr<std::optional<PeerMessage>> PeerHandshake::OnMessage(const PeerMessage& message) {
  using enum PeerSecret::Side;
  if (const auto* hello = std::get_if<PeerHello>(&message); hello && awaits_ == Awaits::kHello) {
    if (absl::Status version = CheckVersion(hello->version); !version.ok()) return version;
    session_.client_nonce = hello->nonce;
    session_.client_generation = hello->generation;
    awaits_ = Awaits::kAnswer;
    return PeerChallenge{.nonce = session_.server_nonce,
                         .generation = session_.server_generation,
                         .proof = secret_->Prove(session_, kServer)};
  }
  if (const auto* challenge = std::get_if<PeerChallenge>(&message);
      challenge && awaits_ == Awaits::kChallenge) {
    if (absl::Status version = CheckVersion(challenge->version); !version.ok()) return version;
    session_.server_nonce = challenge->nonce;
    session_.server_generation = challenge->generation;
    if (!SameProof(challenge->proof, secret_->Prove(session_, kServer))) return WrongSecret();
    SetTokens();
    awaits_ = Awaits::kWelcome;
    return PeerAnswer{.proof = secret_->Prove(session_, kClient)};
  }
  if (const auto* answer = std::get_if<PeerAnswer>(&message);
      answer && awaits_ == Awaits::kAnswer) {
    if (!SameProof(answer->proof, secret_->Prove(session_, kClient))) return WrongSecret();
    SetTokens();
    awaits_ = Awaits::kNothing;
    done_ = true;
    return PeerWelcome{};
  }
  if (std::holds_alternative<PeerWelcome>(message) && awaits_ == Awaits::kWelcome) {
    awaits_ = Awaits::kNothing;
    done_ = true;
    return std::nullopt;
  }
  return absl::InvalidArgumentError(
      StrCat("message ", message.index() + 1, " is out of turn in the handshake"));
}

}  // namespace baton
