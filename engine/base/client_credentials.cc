#include "engine/base/client_credentials.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <string_view>

#include "absl/strings/ascii.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kTokenBytesMax = 4096;     // a header's usual limit is 8 KiB
constexpr size_t kFileBytesMax = 16 << 20;  // of authorities; the system's bundles have 0.3 MB

absl::StatusOr<std::string> ReadFlagFile(std::string_view flag, const std::string& path) {
  if (path.empty()) return "";
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return absl::InvalidArgumentError(
        StrCat(flag, ": cannot read ", path, ": ", std::strerror(errno)));
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (file.bad() || text.empty()) {
    return absl::InvalidArgumentError(StrCat(flag, ": ", path, " is empty or no file"));
  }
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(flag, ": ", path, " has more than ", kFileBytesMax, " bytes"));
  }
  return text;
}

}  // namespace

absl::StatusOr<ClientCredentials> ReadClientCredentials(const ConnectionOptions& options) {
  ClientCredentials read;
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key go together");
  }
  read.tls = options.UsesTls();
  ASSIGN_OR_RETURN(read.ca, ReadFlagFile("--tls-ca", options.tls_ca));
  ASSIGN_OR_RETURN(read.certificate, ReadFlagFile("--tls-cert", options.tls_cert));
  ASSIGN_OR_RETURN(read.key, ReadFlagFile("--tls-key", options.tls_key));
  if (options.token_file.empty()) return read;
  ASSIGN_OR_RETURN(const std::string text, ReadFlagFile("--token-file", options.token_file));
  read.token = std::string(absl::StripAsciiWhitespace(text));
  const auto visible = [](char c) { return c > ' ' && c <= '~'; };
  if (read.token.empty() || read.token.size() > kTokenBytesMax ||
      !std::all_of(read.token.begin(), read.token.end(), visible)) {
    return absl::InvalidArgumentError(StrCat("--token-file: ", options.token_file,
                                             " must hold one token, of visible ASCII characters, "
                                             "and no more"));
  }
  return read;
}

}  // namespace baton
