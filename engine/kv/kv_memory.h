#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "engine/kv/kv_type.h"

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
  // Memory for blocks of one size, side by side, which a device may spread over its banks.
  // RESOURCE_EXHAUSTED, with the bytes that are needed and those there are.
  struct Blocks {
    int64_t count = 0;
    int64_t bytes = 0;  // of each
  };
  virtual absl::StatusOr<std::unique_ptr<KvMemory>> Allocate(const Blocks& blocks) = 0;
  // The only type of keys and values that its device takes; none: any.
  virtual std::optional<KvType> only_type() const = 0;
};

}  // namespace baton
