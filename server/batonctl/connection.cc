#include "server/batonctl/connection.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace baton::ctl {
namespace {

constexpr size_t kTokenBytesMax = 4096;  // a header's usual limit is 8 KiB

absl::StatusOr<std::string> ReadFlagFile(absl::string_view flag, const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrCat(flag, ": cannot read ", path, ": ", std::strerror(errno)));
  }
  std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (file.bad() || text.empty()) {
    return absl::InvalidArgumentError(absl::StrCat(flag, ": ", path, " is empty or no file"));
  }
  return text;
}

}  // namespace

absl::StatusOr<Connection> ReadConnection(const ConnectionOptions& options) {
  Connection connection;
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  if (options.tls || !options.tls_ca.empty() || !options.tls_cert.empty()) {
    grpc::SslCredentialsOptions ssl;
    const auto ca = ReadFlagFile("--tls-ca", options.tls_ca);
    if (!ca.ok()) return ca.status();
    const auto certificate = ReadFlagFile("--tls-cert", options.tls_cert);
    if (!certificate.ok()) return certificate.status();
    const auto key = ReadFlagFile("--tls-key", options.tls_key);
    if (!key.ok()) return key.status();
    ssl.pem_root_certs = *ca;
    ssl.pem_cert_chain = *certificate;
    ssl.pem_private_key = *key;
    connection.credentials = grpc::SslCredentials(ssl);
    connection.tls = true;
  } else {
    connection.credentials = grpc::InsecureChannelCredentials();
  }
  const auto token = ReadFlagFile("--token-file", options.token_file);
  if (!token.ok()) return token.status();
  const absl::string_view trimmed = absl::StripAsciiWhitespace(*token);
  if (!options.token_file.empty()) {
    if (trimmed.empty() || trimmed.size() > kTokenBytesMax ||
        trimmed.find_first_of(" \t\r\n") != absl::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("--token-file: ", options.token_file, " must hold one token and no more"));
    }
    connection.authorization = absl::StrCat("Bearer ", trimmed);
  }
  return connection;
}

}  // namespace baton::ctl
