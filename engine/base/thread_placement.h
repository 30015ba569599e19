#pragma once

#include <cstdint>
#include <vector>

#include "engine/base/cpu_set.h"

namespace baton {

// A thread among those of one owner.
struct ThreadNumber {
  int index = 0;
  int count = 1;
};

// Where the threads of one owner run. Groups of processors that are near each other, one NUMA
// node's each: every thread is bound to one of them, and the threads are spread over the groups by
// their sizes. Within a group the system moves a thread away from one that holds its core; a
// thread's memory stays near. No group: threads run where whoever starts them does. Immutable.
class ThreadPlacement {
 public:
  ThreadPlacement() = default;
  explicit ThreadPlacement(std::vector<CpuSet> groups);  // none empty

  bool anywhere() const { return groups_.empty(); }
  CpuSet cpus() const;
  // How many threads that compute it has room for: its processors, or the calling thread's.
  int ThreadsMax() const;
  // Empty: anywhere.
  CpuSet CpusOf(ThreadNumber thread) const;
  // Binds the calling thread; where the system refuses, it logs that and the thread runs on.
  void Bind(ThreadNumber thread) const;

 private:
  std::vector<CpuSet> groups_;
};

// Of a pool whose work is short and comes from all requests: what an option says, 0 for one for
// each of the calling thread's processors, at most four. More threads than processors cost
// throughput and, under overload, keep the transport's own from their turn: what that has not read,
// nothing can refuse.
int PoolThreads(int64_t option);

}  // namespace baton
