#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/peer/message.h"

namespace baton {

// What both daemons of a link know. Never logged, never sent.
class PeerSecret {
 public:
  static constexpr size_t kBytesMin = 16;
  static constexpr size_t kBytesMax = 4096;

  // The content of a file, without white space at its end. The error names the file and the limit.
  static absl::StatusOr<PeerSecret> Read(const std::string& path);
  explicit PeerSecret(std::string bytes) : bytes_(std::move(bytes)) {}

  // What a handshake is about: both sides' nonces and generations, so that no proof serves twice.
  struct Session {
    PeerNonce client_nonce = {};
    PeerNonce server_nonce = {};
    uint64_t client_generation = 0;
    uint64_t server_generation = 0;
  };
  // Each side's own, so that neither can be sent back.
  enum class Side : uint8_t { kClient, kServer };
  PeerProof Prove(const Session& session, Side side) const;
  // What stands in the envelopes that the side sends from then on.
  PeerToken Token(const Session& session, Side side) const;

 private:
  PeerProof Mac(std::string_view purpose, const Session& session) const;

  std::string bytes_;
};

// In a time that does not depend on where they differ.
bool SameProof(const PeerProof& a, const PeerProof& b);
bool SameToken(const PeerToken& a, const PeerToken& b);

// From the system's generator of random numbers. INTERNAL: it has none.
absl::StatusOr<PeerNonce> DrawNonce();
absl::StatusOr<uint64_t> DrawGeneration();

}  // namespace baton
