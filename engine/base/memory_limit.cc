#include "engine/base/memory_limit.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

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

// The number behind a word in a file of such pairs, as /proc/meminfo and memory.stat are; 0: none.
int64_t NumberBehind(const std::string& path, const std::string& wanted) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word;
    int64_t number = 0;
    if (words >> word >> number && word == wanted) return number;
  }
  return 0;
}

// The files of a version of cgroups.
struct CgroupFiles {
  std::string top;
  std::string limit;
  std::string usage;
  std::string reclaimable;  // in memory.stat: what the kernel gives up for others
};

// Calls visit(folder, files) for each cgroup that the process is in and those around it.
template <class Visit>
void ForEachCgroup(const std::string& root, Visit&& visit) {
  const CgroupFiles version1 = {.top = root + "/sys/fs/cgroup/memory",
                                .limit = "memory.limit_in_bytes",
                                .usage = "memory.usage_in_bytes",
                                .reclaimable = "total_inactive_file"};
  const CgroupFiles version2 = {.top = root + "/sys/fs/cgroup",
                                .limit = "memory.max",
                                .usage = "memory.current",
                                .reclaimable = "inactive_file"};
  // Lines of "number:controllers:path"; version 2 has number 0 and no controllers.
  std::ifstream cgroups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(cgroups, line);) {
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool is_version1 = controllers.find(",memory,") != std::string::npos;
    if (!is_version1 && controllers != ",,") continue;
    const CgroupFiles& files = is_version1 ? version1 : version2;
    std::string cgroup = line.substr(second + 1);
    while (true) {
      visit(files.top + cgroup + "/", files);
      const size_t slash = cgroup.rfind('/');
      if (slash == std::string::npos) break;
      cgroup.resize(slash);
    }
  }
}

int64_t MachineNumber(const std::string& root, const std::string& name) {
  const int64_t kilobytes = NumberBehind(root + "/proc/meminfo", name);
  return kilobytes > 0 ? kilobytes * 1024 : kUnlimited;
}

}  // namespace

int64_t MemoryLimitBytes(const std::string& root) {
  int64_t bytes = MachineNumber(root, "MemTotal:");
  ForEachCgroup(root, [&bytes](const std::string& folder, const CgroupFiles& files) {
    bytes = std::min(bytes, LimitIn(folder + files.limit));
  });
  return bytes;
}

int64_t MemoryFreeBytes(const std::string& root) {
  int64_t bytes = MachineNumber(root, "MemAvailable:");
  ForEachCgroup(root, [&bytes](const std::string& folder, const CgroupFiles& files) {
    const int64_t limit = LimitIn(folder + files.limit);
    const int64_t usage = LimitIn(folder + files.usage);
    if (limit == kUnlimited || usage == kUnlimited) return;
    const int64_t held = usage - NumberBehind(folder + "memory.stat", files.reclaimable);
    bytes = std::min(bytes, std::max<int64_t>(0, limit - held));
  });
  return bytes;
}

}  // namespace baton
