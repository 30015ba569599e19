#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/transfer/memory_space.h"

namespace baton {

// A model's offload tier as clients see it. The numbers are the loop's, and read by any thread.
struct OffloadStatus {
  std::string space;     // "host", or "cxl:N" on a NUMA node
  int64_t bytes = 0;     // that it may take
  bool on_node = false;  // the system has taken the wish for a node
  bool locked = false;   // kept from being swapped, for devices to copy from and to
  int64_t blocks = 0;    // there is room for
  int64_t block_bytes = 0;
  int32_t block_tokens = 1;
  // The memories that it is below of, and how the paths between call the tier's.
  struct Way {
    MemorySpace pool;
    MemorySpace tier;
  };
  std::vector<Way> ways = {};
  std::atomic<int64_t> used{0};
  std::atomic<int64_t> stored{0};    // blocks, ever
  std::atomic<int64_t> reloaded{0};  // likewise
};

}  // namespace baton
