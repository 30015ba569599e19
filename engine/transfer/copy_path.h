#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// One way to move blocks between two memory spaces. Executors register theirs, so that the transfer
// manager knows no device API. Called from the engine's loop thread only; never blocks.
class CopyPath {
 public:
  // What is to be copied: block i from sources[i] to destinations[i], `block_bytes` each.
  struct Job {
    std::vector<const void*> sources;  // in the source space
    std::vector<void*> destinations;   // in the destination space
    int64_t block_bytes = 0;
  };
  using Ticket = uint64_t;

  virtual ~CopyPath() = default;
  // As it appears in metrics and responses.
  virtual const std::string& name() const = 0;
  virtual bool Connects(const MemorySpace& source, const MemorySpace& destination) const = 0;
  // Begins the copy.
  virtual absl::StatusOr<Ticket> Post(const Job& job) = 0;
  // Whether a copy has completed; its error where it failed.
  virtual absl::StatusOr<bool> Poll(Ticket ticket) = 0;
  // Ends a copy. When this returns, neither side's memory is touched any more.
  virtual void Cancel(Ticket ticket) = 0;
};

}  // namespace baton
