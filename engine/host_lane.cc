#include "engine/host_lane.h"

#include <optional>

namespace baton {

HostLane::HostLane(int threads, size_t queue_max) : queue_(queue_max) {
  for (int i = 0; i < threads; ++i) {
    threads_.emplace_back([this] {
      while (std::optional<Job> job = queue_.Pop()) (*job)();
    });
  }
}

HostLane::~HostLane() { queue_.Close(); }

}  // namespace baton
