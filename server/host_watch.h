#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>

#include "engine/base/metrics.h"
#include "engine/vector/vector_store.h"

namespace baton {

// Tells, every few seconds, what the daemon takes of its machine: memory, processor time, file
// descriptors, disk. A thread of its own, so that a scrape and a request read numbers and no files,
// and a disk that hangs holds up nothing else.
class HostWatch {
 public:
  // Both outlive it.
  HostWatch(Metrics& metrics, VectorStore& store);
  ~HostWatch();
  HostWatch(const HostWatch&) = delete;
  HostWatch& operator=(const HostWatch&) = delete;

 private:
  void Run();
  void Tell();

  Metrics& metrics_;
  VectorStore& store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace baton
