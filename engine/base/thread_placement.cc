#include "engine/base/thread_placement.h"

#include <algorithm>
#include <string>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/log.h"

namespace baton {

ThreadPlacement::ThreadPlacement(std::vector<CpuSet> groups) : groups_(std::move(groups)) {
  for (const CpuSet& group : groups_) BATON_CHECK(!group.empty());
}

CpuSet ThreadPlacement::cpus() const {
  CpuSet all;
  for (const CpuSet& group : groups_) all = all | group;
  return all;
}

int ThreadPlacement::ThreadsMax() const {
  if (!anywhere()) return cpus().size();
  return std::max(1, ThreadCpus().size());
}

CpuSet ThreadPlacement::CpusOf(ThreadNumber thread) const {
  BATON_CHECK(thread.index >= 0 && thread.index < thread.count);
  int64_t all = 0;
  for (const CpuSet& group : groups_) all += group.size();
  // The thread's place, were the processors laid out in a row and the threads spread over it.
  int64_t at = thread.index * all / thread.count;
  for (const CpuSet& group : groups_) {
    if (at < group.size()) return group;
    at -= group.size();
  }
  return {};
}

void ThreadPlacement::Bind(ThreadNumber thread) const {
  if (anywhere()) return;
  const absl::Status bound = BindThread(CpusOf(thread));
  if (!bound.ok()) Log().warn("placement: {}", std::string(bound.message()));
}

int PoolThreads(int64_t option) {
  constexpr int kMost = 4;
  return option > 0 ? static_cast<int>(option) : std::min(kMost, ThreadPlacement().ThreadsMax());
}

}  // namespace baton
