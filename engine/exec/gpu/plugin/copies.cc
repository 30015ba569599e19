#include "engine/exec/gpu/plugin/copies.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace baton::gpu {
namespace {

// Large enough for PCIe's full rate, small enough that a cancellation waits for microseconds.
constexpr int64_t kStageBytes = 2 << 20;
constexpr size_t kWaitingMax = 1024;

}  // namespace

Fault Copies::Start(Device& device, std::unique_ptr<Copies>* copies) {
  std::unique_ptr<Copies> started(new Copies(device));
  BATON_GPU_TRY(started->stream_.Create(device));
  for (Stage& stage : started->stages_) {
    BATON_GPU_TRY(device.AllocatePinned("copies of KV blocks", kStageBytes, &stage.memory));
    BATON_GPU_TRY(device.Check(cudaEventCreateWithFlags(&stage.sent, cudaEventDisableTiming),
                               "cudaEventCreate"));
  }
  started->thread_ = std::thread([of = started.get()] { of->Run(); });
  *copies = std::move(started);
  return {};
}

Copies::~Copies() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  for (Stage& stage : stages_) {
    if (stage.sent != nullptr) cudaEventDestroy(stage.sent);
  }
}

Fault Copies::Post(const baton_copy& copy, uint64_t* ticket) {
  const bool to_device = copy.direction == BATON_COPY_TO_DEVICE;
  if ((!to_device && copy.direction != BATON_COPY_FROM_DEVICE) || copy.count < 0 ||
      copy.block_bytes < 0) {
    return {BATON_INVALID_ARGUMENT, Text("a copy in direction ", copy.direction, " of ", copy.count,
                                         " blocks of ", copy.block_bytes, " bytes")};
  }
  auto posted = std::make_shared<Copy>();
  posted->direction = copy.direction;
  posted->block_bytes = copy.block_bytes;
  for (int64_t i = 0; i < copy.count; ++i) {
    const void* const on_device = to_device ? copy.destinations[i] : copy.sources[i];
    const Device::KvMemory memory = device_.FindKv(on_device);
    if (memory.begin == nullptr || static_cast<const unsigned char*>(on_device) + copy.block_bytes >
                                       memory.begin + memory.bytes) {
      return {BATON_INVALID_ARGUMENT,
              Text("block ", i, " of a copy is not in the device's KV memory")};
    }
    posted->sources.push_back(static_cast<const std::byte*>(copy.sources[i]));
    posted->destinations.push_back(static_cast<std::byte*>(copy.destinations[i]));
  }
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kWaitingMax) {
      return {BATON_RESOURCE_EXHAUSTED, Text(kWaitingMax, " copies wait for the GPU's link")};
    }
    queue_.push_back(posted);
  }
  changed_.notify_all();
  copies_.emplace(next_ticket_, std::move(posted));
  *ticket = next_ticket_++;
  return {};
}

Fault Copies::Poll(uint64_t ticket, bool* done, uint64_t* copy_us) {
  *done = false;
  const auto found = copies_.find(ticket);
  if (found == copies_.end()) return {BATON_NOT_FOUND, Text("copy ", ticket, " is not known")};
  {
    const std::lock_guard lock(mutex_);
    if (found->second->phase != Copy::Phase::kEnded) return {};
  }
  const std::shared_ptr<Copy> copy = std::move(found->second);
  copies_.erase(found);
  BATON_GPU_TRY(copy->fault);
  *done = true;
  *copy_us = copy->copy_us;
  return {};
}

void Copies::Cancel(uint64_t ticket) {
  const auto found = copies_.find(ticket);
  if (found == copies_.end()) return;
  const std::shared_ptr<Copy> copy = std::move(found->second);
  copies_.erase(found);
  std::unique_lock lock(mutex_);
  copy->cancelled = true;
  std::erase(queue_, copy);
  changed_.wait(lock, [&] { return copy->phase != Copy::Phase::kRuns; });
}

bool Copies::Cancelled(const Copy& copy) {
  const std::lock_guard lock(mutex_);
  return stopping_ || copy.cancelled;
}

void Copies::Run() {
  for (;;) {
    std::shared_ptr<Copy> copy;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      copy = std::move(queue_.front());
      queue_.pop_front();
      copy->phase = Copy::Phase::kRuns;
    }
    const auto begin = std::chrono::steady_clock::now();
    copy->fault = Carry(*copy);
    const auto took = std::chrono::steady_clock::now() - begin;
    copy->copy_us =
        static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(took).count());
    {
      const std::lock_guard lock(mutex_);
      copy->phase = Copy::Phase::kEnded;
    }
    changed_.notify_all();
  }
}

Fault Copies::Carry(const Copy& copy) {
  BATON_GPU_TRY(device_.Enter());
  Fault fault;
  size_t next = 0;
  for (size_t i = 0; i < copy.sources.size() && !fault.failed(); ++i) {
    for (int64_t at = 0; at < copy.block_bytes && !fault.failed(); at += kStageBytes) {
      if (Cancelled(copy)) break;
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

Fault Copies::CarryPiece(const Copy& copy, const std::byte* from, std::byte* to, int64_t bytes,
                         Stage& stage) {
  BATON_GPU_TRY(Empty(stage));
  const auto size = static_cast<size_t>(bytes);
  stage.destination = nullptr;
  if (copy.direction == BATON_COPY_TO_DEVICE) {
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
