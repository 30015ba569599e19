#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/base/ids.h"
#include "engine/kv/kv_layout.h"

namespace baton {

// What two daemons say to each other, little endian. Every message is an envelope and a body; the
// envelope's token, agreed upon by the handshake, tells that it is from whom the link was made
// with. Parsing trusts nothing: counts, lengths and ranges are checked before anything is taken,
// and what is left over is an error. Errors name the field and the limit.

using PeerToken = std::array<uint8_t, 16>;
using PeerProof = std::array<uint8_t, 32>;  // HMAC-SHA-256
using PeerNonce = std::array<uint8_t, 32>;
using ModelFingerprint = std::array<uint8_t, 32>;  // SHA-256

inline constexpr uint32_t kPeerVersion = 1;
inline constexpr size_t kPeerTokensMax = 1 << 20;      // of a prompt
inline constexpr size_t kPeerNameBytesMax = 256;       // of a model, as of its tenant
inline constexpr size_t kPeerErrorBytesMax = 1024;     // longer ones are cut
inline constexpr size_t kPeerHandshakeBytesMax = 256;  // of a body before the peer is known
inline constexpr size_t kPeerBodyBytesMax = 4 * kPeerTokensMax + 4096;
inline constexpr int64_t kPeerChunkBytesMax = 1 << 20;  // of KV in one message
// Of a run of so many bytes, the last one excepted: both sides agree without a word.
int64_t PeerChunkBytes(int64_t total);

// ---- The handshake, begun by who connected

struct PeerHello {
  uint32_t version = kPeerVersion;
  PeerNonce nonce = {};
  uint64_t generation = 0;  // of the process: another one after a restart
  bool operator==(const PeerHello&) const = default;
};
struct PeerChallenge {
  uint32_t version = kPeerVersion;
  PeerNonce nonce = {};
  uint64_t generation = 0;
  PeerProof proof = {};
  bool operator==(const PeerChallenge&) const = default;
};
struct PeerAnswer {
  PeerProof proof = {};
  bool operator==(const PeerAnswer&) const = default;
};
struct PeerWelcome {
  bool operator==(const PeerWelcome&) const = default;
};

// ---- Afterwards

// I live, and still want what you hold for me.
struct PeerHeartbeat {
  bool operator==(const PeerHeartbeat&) const = default;
};

// Which model it is, and what its KV blocks look like.
struct PeerModel {
  std::string name;
  ModelFingerprint fingerprint = {};
  KvLayout layout;
  bool operator==(const PeerModel&) const = default;
};
// OK where both are one; FAILED_PRECONDITION names the first field that differs, and both values.
absl::Status SameModel(const PeerModel& ours, const PeerModel& theirs);

// Prefill this prompt and hold the KV of its whole blocks, all but its last token's.
struct PeerPrefill {
  uint64_t call = 0;  // of the sender's choosing
  PeerModel model;
  std::string tenant;  // salt of the prefix cache
  int32_t priority = 0;
  uint64_t timeout_us = 0;
  std::vector<TokenId> tokens;
  bool operator==(const PeerPrefill&) const = default;
};
struct PeerCancel {
  uint64_t call = 0;
  bool operator==(const PeerCancel&) const = default;
};
// It is held, under a lease that the sender's heartbeats renew.
struct PeerHeld {
  uint64_t call = 0;
  uint64_t lease = 0;
  uint32_t blocks = 0;
  uint64_t block_bytes = 0;
  uint64_t prefill_us = 0;
  bool operator==(const PeerHeld&) const = default;
};
// Send these blocks of a lease, as one run of bytes in chunks of PeerChunkBytes().
struct PeerPullBlocks {
  uint64_t pull = 0;  // of the sender's choosing
  uint64_t lease = 0;
  uint32_t first = 0;
  uint32_t blocks = 0;
  bool operator==(const PeerPullBlocks&) const = default;
};
// Nobody wants it any more.
struct PeerRelease {
  uint64_t lease = 0;
  bool operator==(const PeerRelease&) const = default;
};
// A call or a pull came to nothing.
struct PeerFailure {
  enum class Of : uint8_t { kCall, kPull } of = Of::kCall;
  uint64_t id = 0;
  absl::Status status;  // not OK
  bool operator==(const PeerFailure&) const = default;
};

using PeerMessage =
    std::variant<PeerHello, PeerChallenge, PeerAnswer, PeerWelcome, PeerHeartbeat, PeerPrefill,
                 PeerCancel, PeerHeld, PeerPullBlocks, PeerRelease, PeerFailure>;

std::vector<std::byte> EncodeBody(const PeerMessage& message);
// `type` as the envelope has it. INVALID_ARGUMENT: it is not such a message.
absl::StatusOr<PeerMessage> ParseBody(uint16_t type, std::span<const std::byte> body);

// What stands before every body.
struct PeerEnvelope {
  static constexpr size_t kBytesMax = 64;
  static constexpr uint16_t kChunkType = 0xc4;  // the body is KV, told of by `pull` and `offset`

  uint16_t type = 0;
  PeerToken token = {};
  uint64_t pull = 0;    // of a chunk
  uint64_t offset = 0;  // of a chunk: in the run of bytes
  bool operator==(const PeerEnvelope&) const = default;
};
PeerEnvelope EnvelopeOf(const PeerMessage& message, const PeerToken& token);
std::vector<std::byte> EncodeEnvelope(const PeerEnvelope& envelope);
absl::StatusOr<PeerEnvelope> ParseEnvelope(std::span<const std::byte> header);

}  // namespace baton
