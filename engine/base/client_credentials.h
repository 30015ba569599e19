#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace baton {

// How a client reaches a server, as its flags or its scenario say it: paths of files.
struct ConnectionOptions {
  bool tls = false;    // implied by the others
  std::string tls_ca;  // PEM files; empty: the system's authorities
  std::string tls_cert;
  std::string tls_key;
  std::string token_file;

  bool UsesTls() const { return tls || !tls_ca.empty() || !tls_cert.empty() || !tls_key.empty(); }
};

// What these files hold.
struct ClientCredentials {
  bool tls = false;
  std::string ca;  // PEM; empty: the system's authorities
  std::string certificate;
  std::string key;
  std::string token;  // empty: none
};

// INVALID_ARGUMENT names the flag and the file, never what is in it.
absl::StatusOr<ClientCredentials> ReadClientCredentials(const ConnectionOptions& options);

}  // namespace baton
