#include "engine/exec/gpu/plugin/copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace baton::gpu {
namespace {

// Large enough for PCIe's full rate, small enough that a cancellation waits for microseconds.
constexpr int64_t kStageBytes = 2 << 20;

}  // namespace

Fault Copies::Start(Device& device, std::unique_ptr<Copies>* copies) {
  std::unique_ptr<Copies> started(new Copies(device));
  BATON_GPU_TRY(started->stream_.Create(device));
  for (Stage& stage : started->stages_) {
    BATON_GPU_TRY(device.AllocatePinned("copies of KV blocks", kStageBytes, &stage.memory));
    BATON_GPU_TRY(device.Check(cudaEventCreateWithFlags(&stage.sent, cudaEventDisableTiming),
                               "cudaEventCreate"));
  }
  Copies* const of = started.get();
  of->queue_.emplace(plugin::CopyQueue::Device{
      .label = "GPU",
      .check = [of](const void* on_device, int64_t bytes) { return of->Check(on_device, bytes); },
      .carry = [of](const Job& job,
                    const std::function<bool()>& cancelled) { return of->Carry(job, cancelled); }});
  *copies = std::move(started);
  return {};
}

Copies::~Copies() {
  queue_.reset();  // its thread uses the stages
  for (Stage& stage : stages_) {
    if (stage.sent != nullptr) cudaEventDestroy(stage.sent);
  }
}

Fault Copies::Check(const void* on_device, int64_t bytes) const {
  const Device::KvMemory memory = device_.FindKv(on_device);
  if (memory.begin == nullptr ||
      static_cast<const unsigned char*>(on_device) + bytes > memory.begin + memory.bytes) {
    return {BATON_INVALID_ARGUMENT, "is not in the device's KV memory"};
  }
  return {};
}

Fault Copies::Carry(const Job& copy, const std::function<bool()>& cancelled) {
  BATON_GPU_TRY(device_.Enter());
  Fault fault;
  size_t next = 0;
  for (size_t i = 0; i < copy.sources.size() && !fault.failed(); ++i) {
    for (int64_t at = 0; at < copy.block_bytes && !fault.failed(); at += kStageBytes) {
      if (cancelled()) break;
      fault = CarryPiece(copy, copy.sources[i] + at, copy.destinations[i] + at,
                         std::min(kStageBytes, copy.block_bytes - at), stages_[next]);
      next = 1 - next;
    }
  }
  // In their order, so that the stream has nothing of this copy left, however it went.
  for (Stage* stage : {&stages_[next], &stages_[1 - next]}) {
    if (fault.failed()) stage->destination = nullptr;
    const Fault emptied = Empty(*stage);
    if (!fault.failed()) fault = emptied;
  }
  return fault;
}

Fault Copies::CarryPiece(const Job& copy, const std::byte* from, std::byte* to, int64_t bytes,
                         Stage& stage) {
  BATON_GPU_TRY(Empty(stage));
  const auto size = static_cast<size_t>(bytes);
  stage.destination = nullptr;
  if (copy.to_device) {
    const std::byte* source = from;
    if (!device_.IsMapped(from, bytes)) {
      std::memcpy(stage.memory.data(), from, size);
      source = stage.memory.data();
    }
    BATON_GPU_TRY(
        device_.Check(cudaMemcpyAsync(to, source, size, cudaMemcpyHostToDevice, stream_.get()),
                      "cudaMemcpyAsync"));
  } else {
    std::byte* destination = to;
    if (!device_.IsMapped(to, bytes)) {
      destination = stage.memory.data();
      stage.destination = to;
    }
    BATON_GPU_TRY(device_.Check(
        cudaMemcpyAsync(destination, from, size, cudaMemcpyDeviceToHost, stream_.get()),
        "cudaMemcpyAsync"));
  }
  stage.bytes = bytes;
  stage.busy = true;
  return device_.Check(cudaEventRecord(stage.sent, stream_.get()), "cudaEventRecord");
}

// Waits until the link is done with it, and takes out what came from the device.
Fault Copies::Empty(Stage& stage) {
  if (!stage.busy) return {};
  stage.busy = false;
  BATON_GPU_TRY(device_.Check(cudaEventSynchronize(stage.sent), "cudaEventSynchronize"));
  if (stage.destination != nullptr) {
    std::memcpy(stage.destination, stage.memory.data(), static_cast<size_t>(stage.bytes));
  }
  return {};
}

}  // namespace baton::gpu
