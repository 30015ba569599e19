#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "engine/base/clock.h"

namespace baton {

// Blocks on their way from a peer into this process's memory. Thread safe: the peer's thread puts
// chunks in, whoever owns the memory asks and cancels.
class PeerPull {
 public:
  PeerPull(std::vector<void*> destinations, int64_t block_bytes, TimeUs now_us);

  int64_t total_bytes() const { return total_bytes_; }

  // A chunk of the run of all blocks' bytes. INVALID_ARGUMENT: there is no such chunk, or it has
  // come before.
  absl::Status Put(int64_t offset, std::span<const std::byte> chunk, TimeUs now_us);
  // It failed; nothing where it has ended.
  void Fail(absl::Status status, TimeUs now_us);
  // When this returns, nothing is written any more. Waits for one chunk's copy at most.
  void Cancel();

  // Nothing: under way. OK: all is there.
  std::optional<absl::Status> ended() const;
  TimeUs elapsed_us() const;  // until it ended
  int64_t received_bytes() const;

 private:
  const std::vector<void*> destinations_;
  const int64_t block_bytes_;
  const int64_t total_bytes_;
  const int64_t chunk_bytes_;
  const TimeUs begun_us_;
  mutable std::mutex mutex_;
  std::vector<bool> came_;  // by chunk
  int64_t received_bytes_ = 0;
  bool cancelled_ = false;
  TimeUs ended_us_ = 0;
  std::optional<absl::Status> ended_;
};

}  // namespace baton
