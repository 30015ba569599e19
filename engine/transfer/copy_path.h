#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/base/clock.h"
#include "engine/transfer/kv_conversion.h"
#include "engine/transfer/memory_space.h"

namespace baton {

// One way to move blocks between two memory spaces. Executors register theirs, so that the transfer
// manager knows no device API. Called from the engine's loop thread only; never blocks.
class CopyPath {
 public:
  // What is to be copied: block i from sources[i] to destinations[i], `block_bytes` each. With a
  // conversion, the blocks are of its layouts, their numbers may differ, and block_bytes says
  // nothing.
  struct Job {
    std::vector<const void*> sources;  // in the source space
    std::vector<void*> destinations;   // in the destination space
    int64_t block_bytes = 0;
    std::optional<KvConversion> conversion = std::nullopt;
    // How far into their blocks both point: the layers before are no part of this copy. 0 with a
    // conversion.
    int64_t offset_bytes = 0;

    // Of the source's blocks.
    int64_t bytes() const {
      return conversion ? conversion->source_bytes()
                        : block_bytes * static_cast<int64_t>(sources.size());
    }
  };
  using Ticket = uint64_t;

  virtual ~CopyPath() = default;
  // As it appears in metrics and responses.
  virtual const std::string& name() const = 0;
  virtual bool Connects(const MemorySpace& source, const MemorySpace& destination) const = 0;
  // Whether it takes jobs with a conversion.
  virtual bool Converts() const { return false; }
  // Whether a device converts so before it sends: then jobs of such a conversion are taken, too,
  // into host memory where what lies behind the last position of a block becomes zero.
  virtual bool Packs(const KvConversion&) const { return false; }
  // What of a job leaves the source by this path.
  virtual int64_t BytesOf(const Job& job) const { return job.bytes(); }
  // Whether it takes no others.
  virtual bool OnlyConverts() const { return false; }
  // Begins the copy.
  virtual absl::StatusOr<Ticket> Post(const Job& job) = 0;
  // Whether a copy has completed; its error where it failed. True and an error are said once, then
  // the ticket is gone.
  virtual absl::StatusOr<bool> Poll(Ticket ticket) = 0;
  // How long the copying itself took that Poll has just said to be complete, where the path has
  // measured it; otherwise the time from Post to that Poll stands for it.
  virtual std::optional<TimeUs> CopyUs(Ticket) const { return std::nullopt; }
  // Ends a copy. When this returns, neither side's memory is touched any more; it may wait for the
  // piece being copied, which takes microseconds.
  virtual void Cancel(Ticket ticket) = 0;
};

}  // namespace baton
