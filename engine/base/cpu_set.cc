#include "engine/base/cpu_set.h"

#include <sched.h>
#include <sys/types.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <optional>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

// The kernel's mask, as large as any.
struct CpuMask {
  static constexpr size_t kBytes = CPU_ALLOC_SIZE(CpuSet::kCpusMax);
  cpu_set_t* bits = CPU_ALLOC(CpuSet::kCpusMax);
  CpuMask() { CPU_ZERO_S(kBytes, bits); }
  ~CpuMask() { CPU_FREE(bits); }
  CpuMask(const CpuMask&) = delete;
  CpuMask& operator=(const CpuMask&) = delete;
};

std::optional<int> ParseCpu(std::string_view text) {
  int cpu = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), cpu);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  if (cpu < 0 || cpu >= CpuSet::kCpusMax) return std::nullopt;
  return cpu;
}

// `thread`: as gettid; 0: the calling one.
absl::Status Bind(pid_t thread, const CpuSet& cpus) {
  const CpuMask mask;
  for (const int cpu : cpus.cpus()) CPU_SET_S(static_cast<size_t>(cpu), CpuMask::kBytes, mask.bits);
  if (sched_setaffinity(thread, CpuMask::kBytes, mask.bits) == 0) return absl::OkStatus();
  if (errno == ESRCH) return absl::OkStatus();  // it has ended
  return absl::FailedPreconditionError(StrCat("a thread cannot be bound to processors ",
                                              cpus.ToString(), ": ", std::strerror(errno)));
}

}  // namespace

CpuSet::CpuSet(std::vector<int> cpus) : cpus_(std::move(cpus)) {
  std::sort(cpus_.begin(), cpus_.end());
  cpus_.erase(std::unique(cpus_.begin(), cpus_.end()), cpus_.end());
}

absl::StatusOr<CpuSet> CpuSet::Parse(std::string_view list) {
  std::vector<int> cpus;
  while (!list.empty()) {
    const size_t comma = std::min(list.find(','), list.size());
    const std::string_view part = list.substr(0, comma);
    const size_t dash = std::min(part.find('-'), part.size());
    const std::optional<int> first = ParseCpu(part.substr(0, dash));
    const std::optional<int> last = dash < part.size() ? ParseCpu(part.substr(dash + 1)) : first;
    if (!first || !last || *last < *first || comma + 1 == list.size()) {
      return absl::InvalidArgumentError(
          StrCat("processors must be a list such as 0-3,8 of numbers 0 to ", kCpusMax - 1));
    }
    for (int cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
    list.remove_prefix(std::min(comma + 1, list.size()));
  }
  return CpuSet(std::move(cpus));
}

std::string CpuSet::ToString() const {
  std::string list;
  for (size_t i = 0; i < cpus_.size();) {
    size_t end = i + 1;
    while (end < cpus_.size() && cpus_[end] == cpus_[end - 1] + 1) ++end;
    absl::StrAppend(&list, list.empty() ? "" : ",", cpus_[i]);
    if (end - i > 1) absl::StrAppend(&list, "-", cpus_[end - 1]);
    i = end;
  }
  return list;
}

bool CpuSet::Contains(const CpuSet& other) const {
  return std::includes(cpus_.begin(), cpus_.end(), other.cpus_.begin(), other.cpus_.end());
}

CpuSet operator|(const CpuSet& a, const CpuSet& b) {
  CpuSet both;
  std::set_union(a.cpus_.begin(), a.cpus_.end(), b.cpus_.begin(), b.cpus_.end(),
                 std::back_inserter(both.cpus_));
  return both;
}

CpuSet operator&(const CpuSet& a, const CpuSet& b) {
  CpuSet both;
  std::set_intersection(a.cpus_.begin(), a.cpus_.end(), b.cpus_.begin(), b.cpus_.end(),
                        std::back_inserter(both.cpus_));
  return both;
}

CpuSet operator-(const CpuSet& a, const CpuSet& b) {
  CpuSet rest;
  std::set_difference(a.cpus_.begin(), a.cpus_.end(), b.cpus_.begin(), b.cpus_.end(),
                      std::back_inserter(rest.cpus_));
  return rest;
}

CpuSet ThreadCpus() {
  const CpuMask mask;
  std::vector<int> cpus;
  if (sched_getaffinity(0, CpuMask::kBytes, mask.bits) != 0) return {};
  for (int cpu = 0; cpu < CpuSet::kCpusMax; ++cpu) {
    if (CPU_ISSET_S(static_cast<size_t>(cpu), CpuMask::kBytes, mask.bits)) cpus.push_back(cpu);
  }
  return CpuSet(std::move(cpus));
}

absl::Status BindThread(const CpuSet& cpus) { return Bind(0, cpus); }

absl::Status BindAllThreads(const CpuSet& cpus) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task", error)) {
    const std::string name = entry.path().filename().string();
    pid_t thread = 0;
    std::from_chars(name.data(), name.data() + name.size(), thread);
    if (thread > 0) RETURN_IF_ERROR(Bind(thread, cpus));
  }
  if (error) {
    return absl::FailedPreconditionError(StrCat("/proc/self/task: ", error.message()));
  }
  return absl::OkStatus();
}

}  // namespace baton
