#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// Processors, by the operating system's numbers: hardware threads, not cores.
class CpuSet {
 public:
  static constexpr int kCpusMax = 8192;  // as Linux may be built for

  CpuSet() = default;
  explicit CpuSet(std::vector<int> cpus);  // 0 to kCpusMax - 1, in any order

  // "0-3,8", as Linux writes it; empty: none. INVALID_ARGUMENT says what is wrong with the text.
  static absl::StatusOr<CpuSet> Parse(std::string_view list);
  std::string ToString() const;

  const std::vector<int>& cpus() const { return cpus_; }  // ascending
  int size() const { return static_cast<int>(cpus_.size()); }
  bool empty() const { return cpus_.empty(); }
  bool Contains(const CpuSet& other) const;

  friend CpuSet operator|(const CpuSet& a, const CpuSet& b);
  friend CpuSet operator&(const CpuSet& a, const CpuSet& b);
  friend CpuSet operator-(const CpuSet& a, const CpuSet& b);
  friend bool operator==(const CpuSet&, const CpuSet&) = default;

 private:
  std::vector<int> cpus_;
};

// Where the calling thread may run: what its cgroup and whoever started it allow.
CpuSet ThreadCpus();

// Has the calling thread run there only, and what threads it starts. FAILED_PRECONDITION: the
// system refuses, and where it runs stays as it was.
absl::Status BindThread(const CpuSet& cpus);

// The same for every thread that the process has now.
absl::Status BindAllThreads(const CpuSet& cpus);

}  // namespace baton
