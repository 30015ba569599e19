#include "engine/transfer/host_copy_path.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/thread_name.h"

namespace baton {
namespace {

absl::Status CheckJob(const CopyPath::Job& job) {
  if (job.conversion) {
    return CheckConversion(*job.conversion,
                           {.source = job.sources.size(), .destination = job.destinations.size()});
  }
  if (job.sources.size() != job.destinations.size() || job.block_bytes < 0) {
    return absl::InvalidArgumentError(StrCat("copy of ", job.sources.size(), " blocks of ",
                                             job.block_bytes, " bytes to ",
                                             job.destinations.size()));
  }
  return absl::OkStatus();
}

// Copies piece by piece until `stop`.
template <class Stop>
void CopyJob(const CopyPath::Job& job, KvRowConverter convert, Stop stop) {
  if (job.conversion) {
    KvConversionRun run(*job.conversion, job.sources, job.destinations, convert);
    while (!stop() && run.Step()) {
    }
    return;
  }
  for (size_t i = 0; i < job.sources.size(); ++i) {
    for (int64_t at = 0; at < job.block_bytes; at += HostCopyPath::kPieceBytes) {
      if (stop()) return;
      std::memcpy(static_cast<std::byte*>(job.destinations[i]) + at,
                  static_cast<const std::byte*>(job.sources[i]) + at,
                  static_cast<size_t>(std::min(HostCopyPath::kPieceBytes, job.block_bytes - at)));
    }
  }
}

}  // namespace

bool IsHostMemory(const MemorySpace& space) {
  return space.kind == MemorySpace::Kind::kHost || space.kind == MemorySpace::Kind::kPinned ||
         space.kind == MemorySpace::Kind::kCxl;
}

HostCopyPath::HostCopyPath(KvRowConverter convert, size_t copies_max, const Clock& clock)
    : convert_(convert), clock_(clock), queue_(copies_max), thread_([this] { Run(); }) {}

HostCopyPath::~HostCopyPath() {
  stopping_ = true;
  queue_.Close();
}

bool HostCopyPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  return IsHostMemory(source) && IsHostMemory(destination);
}

absl::StatusOr<CopyPath::Ticket> HostCopyPath::Post(const Job& job) {
  RETURN_IF_ERROR(CheckJob(job));
  auto copy = std::make_shared<Copy>();
  copy->job = job;
  if (!queue_.TryPush(std::shared_ptr(copy))) {
    return absl::ResourceExhaustedError(
        StrCat("transfer.host_copies_max: ", queue_.capacity(), " copies wait"));
  }
  copies_.emplace(next_ticket_, std::move(copy));
  return next_ticket_++;
}

void HostCopyPath::Run() {
  NameThread("host-copy");
  while (auto next = queue_.Pop()) {
    Copy& copy = **next;
    const auto stop = [&] { return copy.cancelled || stopping_; };
    {
      const std::lock_guard lock(mutex_);
      if (!stop()) copy.phase = Copy::Phase::kRunning;
    }
    if (copy.phase != Copy::Phase::kRunning) continue;
    const TimeUs begin_us = clock_.NowUs();
    CopyJob(copy.job, convert_, stop);
    const TimeUs copy_us = clock_.NowUs() - begin_us;
    {
      const std::lock_guard lock(mutex_);
      copy.copy_us = copy_us;
      copy.phase = Copy::Phase::kDone;
    }
    ended_.notify_all();
  }
}

absl::StatusOr<bool> HostCopyPath::Poll(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return absl::NotFoundError(StrCat("copy ", ticket, " is not known"));
  {
    const std::lock_guard lock(mutex_);
    if (it->second->phase != Copy::Phase::kDone) return false;
    completed_us_ = it->second->copy_us;
  }
  completed_ = ticket;
  copies_.erase(it);
  return true;
}

std::optional<TimeUs> HostCopyPath::CopyUs(Ticket ticket) const {
  if (ticket != completed_) return std::nullopt;
  return completed_us_;
}

void HostCopyPath::Cancel(Ticket ticket) {
  const auto it = copies_.find(ticket);
  if (it == copies_.end()) return;
  const std::shared_ptr<Copy> copy = std::move(it->second);
  copies_.erase(it);
  copy->cancelled = true;
  std::unique_lock lock(mutex_);
  ended_.wait(lock, [&] { return copy->phase != Copy::Phase::kRunning; });
}

bool HostDirectPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  return IsHostMemory(source) && IsHostMemory(destination);
}

absl::StatusOr<CopyPath::Ticket> HostDirectPath::Post(const Job& job) {
  RETURN_IF_ERROR(CheckJob(job));
  const TimeUs begin_us = clock_.NowUs();
  CopyJob(job, convert_, [] { return false; });
  return static_cast<Ticket>(clock_.NowUs() - begin_us);
}

}  // namespace baton
