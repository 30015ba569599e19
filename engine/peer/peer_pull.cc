#include "engine/peer/peer_pull.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "engine/base/strings.h"
#include "engine/peer/message.h"

namespace baton {

PeerPull::PeerPull(std::vector<void*> destinations, int64_t block_bytes, TimeUs now_us)
    : destinations_(std::move(destinations)),
      block_bytes_(block_bytes),
      total_bytes_(block_bytes * static_cast<int64_t>(destinations_.size())),
      chunk_bytes_(PeerChunkBytes(total_bytes_)),
      begun_us_(now_us),
      came_(static_cast<size_t>((total_bytes_ + chunk_bytes_ - 1) / chunk_bytes_)) {}

absl::Status PeerPull::Put(int64_t offset, std::span<const std::byte> chunk, TimeUs now_us) {
  const std::lock_guard lock(mutex_);
  if (cancelled_ || ended_) return absl::OkStatus();  // late
  if (offset < 0 || offset >= total_bytes_ || offset % chunk_bytes_ != 0) {
    return absl::InvalidArgumentError(StrCat("chunk.offset must be a multiple of ", chunk_bytes_,
                                             " below ", total_bytes_, ", but is ", offset));
  }
  const int64_t wanted = std::min(chunk_bytes_, total_bytes_ - offset);
  if (std::ssize(chunk) != wanted) {
    return absl::InvalidArgumentError(
        StrCat("the chunk at ", offset, " must have ", wanted, " bytes, but has ", chunk.size()));
  }
  const auto index = static_cast<size_t>(offset / chunk_bytes_);
  if (came_[index]) {
    return absl::InvalidArgumentError(StrCat("the chunk at ", offset, " came twice"));
  }
  came_[index] = true;
  for (int64_t at = 0; at < wanted;) {
    const int64_t position = offset + at;
    const int64_t within = position % block_bytes_;
    const int64_t bytes = std::min(block_bytes_ - within, wanted - at);
    auto* block =
        static_cast<std::byte*>(destinations_[static_cast<size_t>(position / block_bytes_)]);
    std::memcpy(block + within, chunk.data() + at, static_cast<size_t>(bytes));
    at += bytes;
  }
  received_bytes_ += wanted;
  if (received_bytes_ == total_bytes_) {
    ended_ = absl::OkStatus();
    ended_us_ = now_us;
  }
  return absl::OkStatus();
}

void PeerPull::Fail(absl::Status status, TimeUs now_us) {
  const std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = std::move(status);
  ended_us_ = now_us;
}

void PeerPull::Cancel() {
  const std::lock_guard lock(mutex_);
  cancelled_ = true;
}

std::optional<absl::Status> PeerPull::ended() const {
  const std::lock_guard lock(mutex_);
  return ended_;
}

TimeUs PeerPull::elapsed_us() const {
  const std::lock_guard lock(mutex_);
  return ended_us_ - begun_us_;
}

int64_t PeerPull::received_bytes() const {
  const std::lock_guard lock(mutex_);
  return received_bytes_;
}

}  // namespace baton
