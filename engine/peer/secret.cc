#include "engine/peer/secret.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <vector>

#include "engine/base/check.h"
#include "engine/base/strings.h"

namespace baton {

absl::StatusOr<PeerSecret> PeerSecret::Read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(
        StrCat("peer.secret_file: cannot read ", path, ": ", std::strerror(errno)));
  }
  std::string bytes(kBytesMax + 2, '\0');
  file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  bytes.resize(static_cast<size_t>(file.gcount()));
  while (!bytes.empty() &&
         std::string_view(" \t\r\n").find(bytes.back()) != std::string_view::npos) {
    bytes.pop_back();
  }
  if (bytes.size() < kBytesMin || bytes.size() > kBytesMax) {
    return absl::InvalidArgumentError(
        StrCat("peer.secret_file: ", path, " must hold ", kBytesMin, " to ", kBytesMax,
               " bytes, but holds ", bytes.size() > kBytesMax ? "more" : StrCat(bytes.size())));
  }
  return PeerSecret(std::move(bytes));
}

PeerProof PeerSecret::Mac(std::string_view purpose, const Session& session) const {
  std::vector<uint8_t> text(purpose.begin(), purpose.end());
  const auto add = [&text](const auto& value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    text.insert(text.end(), bytes, bytes + sizeof(value));
  };
  add(session.client_nonce);
  add(session.server_nonce);
  add(session.client_generation);
  add(session.server_generation);
  PeerProof mac = {};
  unsigned length = 0;
  const uint8_t* made = HMAC(EVP_sha256(), bytes_.data(), static_cast<int>(bytes_.size()),
                             text.data(), text.size(), mac.data(), &length);
  BATON_CHECK(made != nullptr && length == mac.size());
  return mac;
}

PeerProof PeerSecret::Prove(const Session& session, Side side) const {
  return Mac(side == Side::kClient ? "baton peer 1 client" : "baton peer 1 server", session);
}

PeerToken PeerSecret::Token(const Session& session, Side side) const {
  const PeerProof mac =
      Mac(side == Side::kClient ? "baton peer 1 token of client" : "baton peer 1 token of server",
          session);
  PeerToken token = {};
  std::copy_n(mac.begin(), token.size(), token.begin());
  return token;
}

bool SameProof(const PeerProof& a, const PeerProof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

bool SameToken(const PeerToken& a, const PeerToken& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

absl::StatusOr<PeerNonce> DrawNonce() {
  PeerNonce nonce = {};
  if (RAND_bytes(nonce.data(), static_cast<int>(nonce.size())) != 1) {
    return absl::InternalError("the system gives no random numbers");
  }
  return nonce;
}

absl::StatusOr<uint64_t> DrawGeneration() {
  const absl::StatusOr<PeerNonce> nonce = DrawNonce();
  if (!nonce.ok()) return nonce.status();
  uint64_t generation = 0;
  std::memcpy(&generation, nonce->data(), sizeof(generation));
  return generation;
}

}  // namespace baton
