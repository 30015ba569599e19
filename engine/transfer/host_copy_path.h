#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "engine/base/bounded_queue.h"
#include "engine/base/clock.h"
#include "engine/kv/kv_rows.h"
#include "engine/transfer/copy_path.h"

namespace baton {

// Whether the processor reads and writes a space itself: host, pinned, cxl.
bool IsHostMemory(const MemorySpace& space);

// Copies and converts between spaces that the processor reaches, on a thread of its own, one copy
// after another. Post: RESOURCE_EXHAUSTED where too many wait; INVALID_ARGUMENT where a conversion
// is none. Cancel waits for a piece of kPieceBytes or one layer of a block at most.
class HostCopyPath final : public CopyPath {
 public:
  // Looks for a cancellation after so much: tens of microseconds.
  static constexpr int64_t kPieceBytes = 256 << 10;

  // `clock` outlives it.
  HostCopyPath(KvRowConverter convert, size_t copies_max, const Clock& clock);
  // Ends what runs; whoever posted has cancelled or forgotten it.
  ~HostCopyPath() override;

  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  bool Converts() const override { return true; }
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket ticket) override;
  std::optional<TimeUs> CopyUs(Ticket ticket) const override;
  void Cancel(Ticket ticket) override;

 private:
  struct Copy {
    Job job;
    std::atomic<bool> cancelled{false};
    enum class Phase : uint8_t { kQueued, kRunning, kDone } phase = Phase::kQueued;  // mutex_
    TimeUs copy_us = 0;
  };
  void Run();

  const std::string name_ = "host";
  const KvRowConverter convert_;
  const Clock& clock_;
  BoundedQueue<std::shared_ptr<Copy>> queue_;
  std::mutex mutex_;
  std::condition_variable ended_;
  std::atomic<bool> stopping_{false};
  std::map<Ticket, std::shared_ptr<Copy>> copies_;  // the caller's
  Ticket next_ticket_ = 1;
  Ticket completed_ = 0;  // the last one that Poll said to be complete
  TimeUs completed_us_ = 0;
  std::jthread thread_;  // last: it uses all of the above
};

// The same at once, on the caller's thread, for copies that are over sooner than another thread
// takes them up.
class HostDirectPath final : public CopyPath {
 public:
  HostDirectPath(KvRowConverter convert, const Clock& clock) : convert_(convert), clock_(clock) {}

  const std::string& name() const override { return name_; }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override;
  bool Converts() const override { return true; }
  absl::StatusOr<Ticket> Post(const Job& job) override;
  absl::StatusOr<bool> Poll(Ticket) override { return true; }
  std::optional<TimeUs> CopyUs(Ticket ticket) const override { return static_cast<TimeUs>(ticket); }
  void Cancel(Ticket) override {}

 private:
  const std::string name_ = "host_direct";
  const KvRowConverter convert_;
  const Clock& clock_;
};

}  // namespace baton
