#include "engine/base/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <limits>

#include "absl/strings/numbers.h"

namespace baton {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// The number that a file holds. Version 2 says "max", version 1 a huge number, where there is no
// limit.
int64_t LimitIn(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  int64_t bytes = 0;
  return file >> word && absl::SimpleAtoi(word, &bytes) && bytes > 0 ? bytes : kUnlimited;
}

// The least limit of a cgroup and those around it, whose folders are below `top`.
int64_t LimitOf(const std::string& top, std::string cgroup, const std::string& file) {
  int64_t bytes = kUnlimited;
  while (true) {
    bytes = std::min(bytes, LimitIn(top + cgroup + "/" + file));
    const size_t slash = cgroup.rfind('/');
    if (slash == std::string::npos) return bytes;
    cgroup.resize(slash);
  }
}

// MemTotal of /proc/meminfo, in KiB there.
int64_t MachineBytes(const std::string& root) {
  std::ifstream file(root + "/proc/meminfo");
  std::string name;
  int64_t kilobytes = 0;
  return file >> name >> kilobytes && name == "MemTotal:" && kilobytes > 0 ? kilobytes * 1024
                                                                           : kUnlimited;
}

}  // namespace

int64_t MemoryLimitBytes(const std::string& root) {
  int64_t bytes = MachineBytes(root);
  // Lines of "number:controllers:path"; version 2 has number 0 and no controllers.
  std::ifstream cgroups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(cgroups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string cgroup = line.substr(second + 1);
    if (controllers == ",,") {
      bytes = std::min(bytes, LimitOf(root + "/sys/fs/cgroup", cgroup, "memory.max"));
    } else if (controllers.find(",memory,") != std::string::npos) {
      bytes =
          std::min(bytes, LimitOf(root + "/sys/fs/cgroup/memory", cgroup, "memory.limit_in_bytes"));
    }
  }
  return bytes;
}

}  // namespace baton
