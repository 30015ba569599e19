#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/batonctl/options.h"

namespace baton::ctl {

// How a daemon is reached, and as whom.
struct Connection {
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  bool tls = false;
  std::string authorization;  // "Bearer TOKEN"; empty: no token
};

// Reads the files that the options name. INVALID_ARGUMENT names the flag and the file, never what
// is in it.
absl::StatusOr<Connection> ReadConnection(const ConnectionOptions& options);

}  // namespace baton::ctl
