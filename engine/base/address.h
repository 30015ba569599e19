#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

struct sockaddr_storage;

namespace baton {

// An address to listen on: a numeric one, so that no name is looked up.
struct Address {
  std::string ip;  // "127.0.0.1", "::1"
  bool v6 = false;
  uint16_t port = 0;

  bool is_loopback() const;      // reached from this machine alone
  std::string ToString() const;  // "127.0.0.1:50051", "[::1]:50051"
};

// Parses IP:PORT. "localhost" is 127.0.0.1, without a look-up. INVALID_ARGUMENT names `key`.
absl::StatusOr<Address> ParseAddress(std::string_view key, std::string_view text);

// For the socket API; its length.
unsigned ToSocketAddress(const Address& address, sockaddr_storage& storage);

// Whether the address can be listened on now; the error names `key`, the address and the reason.
// gRPC and the HTTP server can only say that they could not.
absl::Status CheckBindable(std::string_view key, const Address& address);

}  // namespace baton
