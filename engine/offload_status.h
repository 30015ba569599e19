#pragma once

#include <atomic>
#include <cstdint>
#include <string>

namespace baton {

// A model's offload tier as clients see it. The numbers are the loop's, and read by any thread.
struct OffloadStatus {
  std::string space;     // "host", or "cxl:N" on a NUMA node
  int64_t bytes = 0;     // that it may take
  bool on_node = false;  // the system has taken the wish for a node
  bool locked = false;   // kept from being swapped, for devices to copy from and to
  int64_t blocks = 0;    // there is room for
  std::atomic<int64_t> used{0};
  std::atomic<int64_t> stored{0};    // blocks, ever
  std::atomic<int64_t> reloaded{0};  // likewise
};

}  // namespace baton
