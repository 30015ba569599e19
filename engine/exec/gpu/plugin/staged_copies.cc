#include "engine/exec/gpu/plugin/staged_copies.h"

#include <algorithm>

namespace baton::gpu {
namespace {

// Between the host's memory and the device's at a time.
constexpr int64_t kStagedBytes = 8 << 20;

template <class Do>
Fault ForEachPiece(int64_t bytes, Do work) {
  for (int64_t at = 0; at < bytes; at += kStagedBytes) {
    BATON_GPU_TRY(work(at, std::min(kStagedBytes, bytes - at)));
  }
  return {};
}

}  // namespace

Fault StagedCopies::Create(Device& device, const char* what) {
  device_ = &device;
  BATON_GPU_TRY(stream_.Create(device));
  return device.AllocatePinned(what, kStagedBytes, &staging_);
}

Fault StagedCopies::Send(const void* from, int64_t bytes, void* to) {
  return ForEachPiece(bytes, [&](int64_t at, int64_t count) -> Fault {
    std::copy_n(static_cast<const std::byte*>(from) + at, count, staging_.data());
    BATON_GPU_TRY(
        Copy(static_cast<std::byte*>(to) + at, staging_.data(), count, cudaMemcpyHostToDevice));
    return stream_.Wait();
  });
}

Fault StagedCopies::Fetch(const void* from, int64_t bytes, void* to) {
  return ForEachPiece(bytes, [&](int64_t at, int64_t count) -> Fault {
    BATON_GPU_TRY(Copy(staging_.data(), static_cast<const std::byte*>(from) + at, count,
                       cudaMemcpyDeviceToHost));
    BATON_GPU_TRY(stream_.Wait());
    std::copy_n(staging_.data(), count, static_cast<std::byte*>(to) + at);
    return {};
  });
}

Fault StagedCopies::Copy(void* to, const void* from, int64_t bytes, cudaMemcpyKind kind) {
  return device_->Check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), kind, stream_.get()),
                        "cudaMemcpyAsync");
}

}  // namespace baton::gpu
