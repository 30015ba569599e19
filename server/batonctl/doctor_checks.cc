#include "server/batonctl/doctor_checks.h"

#include <sys/statvfs.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/address.h"
#include "engine/base/memory_limit.h"
#include "server/batonctl/text.h"
#include "server/token_file.h"

namespace baton::ctl {
namespace {

using Grade = Finding::Grade;

// A connection, a segment file and a RocksDB table are a descriptor each; RocksDB keeps its tables
// open. Debian's soft default is 1,024.
constexpr uint64_t kFilesWanted = 65'536;
// Segment files and models are mapped, a few maps each; Linux' default is 65,530.
constexpr int64_t kMapsWanted = 65'530;
constexpr double kDiskFreeShareWanted = 0.1;
constexpr int64_t kMegabyte = 1 << 20;

std::optional<std::string> FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

std::optional<int64_t> NumberIn(const std::string& path) {
  std::ifstream file(path);
  int64_t number = 0;
  if (!(file >> number)) return std::nullopt;
  return number;
}

Finding CheckDisk(const VectorOptions& vector) {
  Finding finding{.what = "disk of vector.data_dir"};
  struct statvfs disk = {};
  std::error_code error;
  // A directory that the daemon is to make: its parent's disk.
  std::filesystem::path path = std::filesystem::absolute(vector.data_dir, error);
  while (path.has_relative_path() && !std::filesystem::exists(path, error)) {
    path = path.parent_path();
  }
  if (statvfs(path.c_str(), &disk) != 0) {
    return {.grade = Grade::kProblem,
            .what = finding.what,
            .found = absl::StrCat(vector.data_dir, " cannot be looked at"),
            .remedy = "make it, and let the daemon's user read and write it"};
  }
  const auto block = static_cast<int64_t>(disk.f_frsize);
  const int64_t free = block * static_cast<int64_t>(disk.f_bavail);
  const int64_t total = block * static_cast<int64_t>(disk.f_blocks);
  finding.found = absl::StrCat(FormatBytes(free), " of ", FormatBytes(total), " are free");
  if (free < vector.disk_reserve_mb * kMegabyte) {
    finding.grade = Grade::kProblem;
    finding.remedy = absl::StrCat("writes are refused below vector.disk_reserve_mb, ",
                                  vector.disk_reserve_mb, " MiB: make room");
  } else if (static_cast<double>(free) < kDiskFreeShareWanted * static_cast<double>(total)) {
    finding.grade = Grade::kWarning;
    finding.remedy = "merging segments needs room for copies: keep a tenth free";
  }
  return finding;
}

Finding CheckFile(const std::string& key, const std::string& path) {
  std::error_code error;
  const bool there = std::filesystem::is_regular_file(path, error) && std::ifstream(path).good();
  if (there) return {.what = key, .found = path};
  return {.grade = Grade::kProblem,
          .what = key,
          .found = absl::StrCat(path, " cannot be read"),
          .remedy = "correct the path, or let this user read it"};
}

Finding CheckTokens(const std::string& path) {
  const auto tokens = ReadTokens(path);
  if (!tokens.ok()) {
    return {.grade = Grade::kProblem,
            .what = "server.access.tokens",
            .found = std::string(tokens.status().message()),
            .remedy = "batonctl token makes lines that are right"};
  }
  return {.grade = tokens->empty() ? Grade::kProblem : Grade::kOk,
          .what = "server.access.tokens",
          .found = absl::StrCat(tokens->size(), " tokens"),
          .remedy = tokens->empty() ? "batonctl token NAME --scopes read --file " + path : ""};
}

Finding CheckExposure(const ServerOptions& server) {
  Finding finding{.what = "server.grpc_address", .found = server.grpc_address};
  const auto address = ParseAddress("server.grpc_address", server.grpc_address);
  if (!address.ok()) {
    return {.grade = Grade::kProblem,
            .what = finding.what,
            .found = std::string(address.status().message()),
            .remedy = "write IP:PORT"};
  }
  if (address->is_loopback()) {
    finding.found += ", this machine alone";
    return finding;
  }
  const bool known = !server.access.tokens.empty() || !server.tls.client_ca.empty();
  if (!known) {
    finding.grade = server.access.open ? Grade::kWarning : Grade::kProblem;
    finding.remedy = server.access.open
                         ? "whoever reaches it may do everything: a firewall must say who"
                         : "the daemon refuses to start: set server.access.tokens or "
                           "server.tls.client_ca";
  } else if (!server.tls.enabled()) {
    finding.grade = Grade::kWarning;
    finding.remedy = "tokens can be read on their way: set server.tls.*, or have a proxy do TLS";
  }
  return finding;
}

}  // namespace

std::vector<Finding> CheckMachine(const std::string& root, uint64_t files_max) {
  std::vector<Finding> findings;
  findings.push_back(
      {.grade = files_max < kFilesWanted ? Grade::kWarning : Grade::kOk,
       .what = "file descriptors",
       .found = absl::StrCat(files_max, " at most for a program started here"),
       .remedy = files_max < kFilesWanted
                     ? absl::StrCat("LimitNOFILE=", kFilesWanted, " in the unit, or ulimit -n")
                     : ""});
  if (const auto maps = NumberIn(root + "/proc/sys/vm/max_map_count")) {
    const bool low = *maps < kMapsWanted;
    findings.push_back(
        {.grade = low ? Grade::kWarning : Grade::kOk,
         .what = "memory maps",
         .found = absl::StrCat(*maps, " at most for a process"),
         .remedy = low ? absl::StrCat("sysctl vm.max_map_count=", 4 * kMapsWanted) : ""});
  }
  const int64_t limit = MemoryLimitBytes(root);
  const int64_t free = MemoryFreeBytes(root);
  const bool short_of_memory = free < limit / 10;
  findings.push_back(
      {.grade = short_of_memory ? Grade::kWarning : Grade::kOk,
       .what = "memory",
       .found = absl::StrCat(FormatBytes(free), " of ", FormatBytes(limit), " are free"),
       .remedy = short_of_memory ? "below vector.memory_reserve_mb upserts are refused" : ""});
  if (const auto pages = FirstLine(root + "/sys/kernel/mm/transparent_hugepage/enabled")) {
    const bool never = absl::StrContains(*pages, "[never]");
    findings.push_back({.grade = never ? Grade::kWarning : Grade::kOk,
                        .what = "transparent huge pages",
                        .found = *pages,
                        .remedy = never ? "echo madvise > "
                                          "/sys/kernel/mm/transparent_hugepage/enabled: weights "
                                          "and vectors are read faster"
                                        : ""});
  }
  if (const auto swappiness = NumberIn(root + "/proc/sys/vm/swappiness")) {
    std::ifstream swaps(root + "/proc/swaps");
    int lines = 0;
    for (std::string line; std::getline(swaps, line);) ++lines;
    const bool swaps_early = lines > 1 && *swappiness > 10;
    findings.push_back(
        {.grade = swaps_early ? Grade::kWarning : Grade::kOk,
         .what = "swap",
         .found = lines > 1 ? absl::StrCat("in use, swappiness ", *swappiness) : "none",
         .remedy = swaps_early ? "sysctl vm.swappiness=1: a weight that is read from disk costs "
                                 "milliseconds"
                               : ""});
  }
  return findings;
}

std::vector<Finding> CheckConfigured(const Config& config) {
  std::vector<Finding> findings = {CheckDisk(config.vector), CheckExposure(config.server)};
  if (!config.server.access.tokens.empty()) {
    findings.push_back(CheckTokens(config.server.access.tokens));
  }
  const TlsOptions& tls = config.server.tls;
  for (const auto& [key, path] :
       {std::pair("server.tls.certificate", &tls.certificate),
        std::pair("server.tls.key", &tls.key), std::pair("server.tls.client_ca", &tls.client_ca),
        std::pair("embedder.path", &config.embedder.path)}) {
    if (!path->empty()) findings.push_back(CheckFile(key, *path));
  }
  for (const ModelOptions& model : config.models) {
    findings.push_back(CheckFile(absl::StrCat("model ", model.name), model.path));
  }
  return findings;
}

std::vector<Finding> CheckDevices(const v1::DevicesResponse& devices) {
  std::vector<Finding> findings;
  for (const v1::Device& device : devices.devices()) {
    Finding finding{.what = absl::StrCat("device ", device.device())};
    if (!device.available()) {
      // A platform that this machine never had is no fault; one that was there has a state.
      finding.grade = device.state().empty() ? Grade::kOk : Grade::kProblem;
      finding.found = absl::StrCat("absent: ", device.reason());
      if (!device.state().empty()) finding.remedy = "batonctl devices tells its last events";
    } else if (!device.refusal().empty()) {
      finding.grade = Grade::kProblem;
      finding.found = absl::StrCat("gets no work: ", device.refusal());
      finding.remedy = "its work runs elsewhere where the fallback allows";
    } else {
      finding.found = absl::StrCat(device.detail(), device.emulated() ? ", emulated" : "");
      if (device.emulated()) {
        finding.grade = Grade::kWarning;
        finding.remedy = "simulated devices are for rehearsals: start without --simulate";
      } else if (device.capacity() < 1) {
        finding.grade = Grade::kWarning;
        finding.remedy = absl::StrCat("it gets ", static_cast<int>(100 * device.capacity()),
                                      " % of its work: look at its temperature");
      }
    }
    if (device.has_memory_errors() && device.memory_errors() > 0) {
      finding.grade = Grade::kProblem;
      finding.found += absl::StrCat(", ", device.memory_errors(), " memory errors");
      finding.remedy = "have it replaced";
    }
    findings.push_back(std::move(finding));
  }
  return findings;
}

}  // namespace baton::ctl
