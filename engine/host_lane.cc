#include "engine/host_lane.h"

#include <optional>

#include "engine/base/thread_name.h"

namespace baton {

HostLane::HostLane(const char* name, int threads, size_t queue_max) : queue_(queue_max) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this, name, i] {
      NameThread(name, i);
      while (std::optional<Job> job = queue_.Pop()) (*job)();
    });
  }
}

HostLane::~HostLane() { queue_.Close(); }

}  // namespace baton
