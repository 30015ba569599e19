#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace baton {

// Memory that KV blocks lie in, in whatever space; given back in the end.
class KvMemory {
 public:
  virtual ~KvMemory() = default;
  // Aligned to 256 bytes. An address of its space: only in the host's may the processor follow it.
  virtual std::byte* data() const = 0;
};

// Where a device's memory for KV blocks comes from. Thread safe; may block.
class KvMemorySource {
 public:
  virtual ~KvMemorySource() = default;
  // RESOURCE_EXHAUSTED, with the bytes that are needed and those there are.
  virtual absl::StatusOr<std::unique_ptr<KvMemory>> Allocate(int64_t bytes) = 0;
};

}  // namespace baton
