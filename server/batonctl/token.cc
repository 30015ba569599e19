// token: makes a bearer token for server.access.tokens. Asks no daemon.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "engine/base/strings.h"
#include "server/batonctl/commands.h"
#include "server/token_file.h"

namespace baton::ctl {
namespace {

absl::StatusOr<TokenEntry> EntryOf(const MakeTokenOptions& options, const std::string& token) {
  TokenEntry entry{.name = options.name, .hash = HashToken(token)};
  if (!IsPlainName(options.name)) {
    return absl::InvalidArgumentError("the name must be 1 to 128 characters of [A-Za-z0-9_.:-]");
  }
  const absl::StatusOr<Scopes> scopes = ParseScopes(options.scopes);
  if (!scopes.ok()) return scopes.status();
  entry.scopes = *scopes;
  entry.rate = options.rate.value_or(0);
  entry.burst = options.burst.value_or(0);
  entry.concurrency = options.concurrency.value_or(0);
  if (options.expires) {
    const absl::StatusOr<int64_t> expires = ParseUtc(*options.expires);
    if (!expires.ok()) return expires.status();
    entry.expires_s = *expires;
  }
  // What the daemon would say of it.
  const auto read = ParseTokens(ToLine(entry), "token");
  if (!read.ok()) return read.status();
  return entry;
}

// One write at the end of the file, which nobody else may read.
absl::Status Append(const std::string& path, const std::string& line) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, S_IRUSR | S_IWUSR);
  if (fd < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write ", path, ": ", std::strerror(errno)));
  }
  const bool written =
      write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size()) && fsync(fd) == 0;
  const int error = errno;
  close(fd);
  if (written) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("cannot write ", path, ": ", std::strerror(error)));
}

}  // namespace

int RunToken(const Options& options, Terminal& terminal, const MakeTokenOptions& make) {
  const std::string token = MakeToken();
  const absl::StatusOr<TokenEntry> entry = EntryOf(make, token);
  if (!entry.ok()) return FailUsage(terminal, entry.status());
  const std::string line = ToLine(*entry);
  if (!make.file.empty()) {
    const absl::Status appended = Append(make.file, absl::StrCat(line, "\n"));
    if (!appended.ok()) {
      terminal.err << "batonctl: " << appended.message() << "\n";
      return kExitFailed;
    }
  }
  if (options.json) {
    terminal.out << nlohmann::json{{"token", token}, {"line", line}}.dump() << "\n";
    return kExitOk;
  }
  terminal.out << token << "\n";
  terminal.err << (make.file.empty()
                       ? absl::StrCat("Its line in server.access.tokens:\n", line, "\n")
                       : absl::StrCat("Added to ", make.file, "; "))
               << "The token is shown only now. kill -HUP has the daemon read its file again.\n";
  return kExitOk;
}

}  // namespace baton::ctl
