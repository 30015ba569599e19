#include "server/batonctl/connection.h"

#include "absl/strings/str_cat.h"

namespace baton::ctl {

absl::StatusOr<Connection> ReadConnection(const ConnectionOptions& options) {
  absl::StatusOr<ClientCredentials> read = ReadClientCredentials(options);
  if (!read.ok()) return read.status();
  Connection connection;
  connection.tls = read->tls;
  if (read->tls) {
    connection.credentials = grpc::SslCredentials({.pem_root_certs = std::move(read->ca),
                                                   .pem_private_key = std::move(read->key),
                                                   .pem_cert_chain = std::move(read->certificate)});
  } else {
    connection.credentials = grpc::InsecureChannelCredentials();
  }
  if (!read->token.empty()) connection.authorization = absl::StrCat("Bearer ", read->token);
  return connection;
}

}  // namespace baton::ctl
