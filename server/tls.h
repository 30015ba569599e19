#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "config/server_options.h"
#include "grpcpp/security/server_credentials.h"

struct ssl_ctx_st;

namespace baton {

// The certificate that both ports show, kept up to date: what replaces the files is served from the
// next connection on, once it is whole and fits. Until then the last good one is: gRPC itself would
// take half-written files and refuse everybody. So gRPC's watcher is given copies in memory
// (memfd), which change only when all was checked. Used by one thread, but for what says so.
class Tls {
 public:
  // INVALID_ARGUMENT names the key, the file and what is wrong with it: it cannot be read, is no
  // PEM, the key is another certificate's, the certificate has expired.
  static absl::StatusOr<std::unique_ptr<Tls>> Open(const TlsOptions& options);
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  std::shared_ptr<grpc::ServerCredentials> Credentials() const;
  // What a new connection of the HTTP port is encrypted with. Thread safe.
  std::shared_ptr<ssl_ctx_st> HttpContext() const;
  int64_t not_after_s() const;  // of the certificate that is served, since 1970

  // True: the files are others than before and are served from now on. An error: they are others,
  // and are not; it is told once for each change.
  absl::StatusOr<bool> Refresh();

 private:
  struct Impl;
  explicit Tls(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace baton
