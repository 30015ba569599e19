#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

// The NUMA nodes that have memory, in ascending order; {0} where the system tells nothing. A CXL
// expander is one without processors.
std::vector<int32_t> MemoryNodes();

// Anonymous memory, page aligned and zeroed, whose pages are taken as they are first touched.
class MappedMemory {
 public:
  struct Request {
    int64_t bytes = 0;       // above 0
    int32_t numa_node = -1;  // where its pages are to be while there is room; -1: anywhere
    bool lock = false;       // take all pages now and keep them from being swapped
  };
  // INVALID_ARGUMENT: there is no such node. RESOURCE_EXHAUSTED: the memory cannot be had. Where
  // the system refuses to bind or lock, the memory is there all the same: bound() and locked()
  // tell.
  static absl::StatusOr<std::unique_ptr<MappedMemory>> Create(const Request& request);
  ~MappedMemory();
  MappedMemory(const MappedMemory&) = delete;
  MappedMemory& operator=(const MappedMemory&) = delete;

  std::byte* data() const { return data_; }
  int64_t bytes() const { return bytes_; }
  bool bound() const { return bound_; }
  bool locked() const { return locked_; }

 private:
  MappedMemory(std::byte* data, int64_t bytes) : data_(data), bytes_(bytes) {}

  std::byte* const data_;
  const int64_t bytes_;
  bool bound_ = false;
  bool locked_ = false;
};

}  // namespace baton
