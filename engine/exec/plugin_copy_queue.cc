#include "engine/exec/plugin_copy_queue.h"

#include <chrono>
#include <utility>

namespace baton::plugin {
namespace {

constexpr size_t kWaitingMax = 1024;

int64_t KvBlockBytes(const baton_kv_layout& layout) {
  const int64_t element_bytes = layout.type == BATON_KV_F32    ? 4
                                : layout.type == BATON_KV_INT8 ? 1
                                                               : 2;
  const int64_t scale_bytes = layout.type == BATON_KV_INT8 ? 4 : 0;
  return int64_t{2} * layout.layers * layout.kv_heads * layout.block_tokens *
         (layout.head_dim * element_bytes + scale_bytes);
}

}  // namespace

CopyQueue::CopyQueue(Device device) : device_(std::move(device)), thread_([this] { Run(); }) {}

CopyQueue::~CopyQueue() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Fault CopyQueue::Post(const baton_copy& copy, uint64_t* ticket) {
  const bool to_device = copy.direction == BATON_COPY_TO_DEVICE;
  if ((!to_device && copy.direction != BATON_COPY_FROM_DEVICE) || copy.count < 0 ||
      copy.block_bytes < 0) {
    return {BATON_INVALID_ARGUMENT, Text("a copy in direction ", copy.direction, " of ", copy.count,
                                         " blocks of ", copy.block_bytes, " bytes")};
  }
  Job job;
  job.to_device = to_device;
  job.block_bytes = copy.block_bytes;
  for (int64_t i = 0; i < copy.count; ++i) {
    const void* const on_device = to_device ? copy.destinations[i] : copy.sources[i];
    if (const Fault fault = device_.check(on_device, copy.block_bytes); fault.failed()) {
      return {fault.code(), Text("block ", i, " of a copy ", fault.message())};
    }
    job.sources.push_back(static_cast<const std::byte*>(copy.sources[i]));
    job.destinations.push_back(static_cast<std::byte*>(copy.destinations[i]));
  }
  return Add(std::move(job), ticket);
}

Fault CopyQueue::PostPacked(const baton_kv_packing& packing, uint64_t* ticket) {
  const auto blocks = [&](const baton_kv_layout& layout) {
    return (packing.tokens + layout.block_tokens - 1) / layout.block_tokens;
  };
  Job job;
  job.block_bytes = KvBlockBytes(packing.source);
  for (int64_t i = 0; i < blocks(packing.source); ++i) {
    if (const Fault fault = device_.check(packing.sources[i], job.block_bytes); fault.failed()) {
      return {fault.code(), Text("block ", i, " of a copy ", fault.message())};
    }
    job.sources.push_back(static_cast<const std::byte*>(packing.sources[i]));
  }
  for (int64_t i = 0; i < blocks(packing.destination); ++i) {
    job.destinations.push_back(static_cast<std::byte*>(packing.destinations[i]));
  }
  job.packing = packing;
  job.packing->sources = nullptr;
  job.packing->destinations = nullptr;
  return Add(std::move(job), ticket);
}

Fault CopyQueue::Add(Job job, uint64_t* ticket) {
  auto posted = std::make_shared<Copy>();
  posted->job = std::move(job);
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= kWaitingMax) {
      return {BATON_RESOURCE_EXHAUSTED,
              Text(kWaitingMax, " copies wait for the ", device_.label, "'s link")};
    }
    queue_.push_back(posted);
  }
  changed_.notify_all();
  copies_.emplace(next_ticket_, std::move(posted));
  *ticket = next_ticket_++;
  return {};
}

Fault CopyQueue::Poll(uint64_t ticket, bool* done, uint64_t* copy_us) {
  *done = false;
  const auto found = copies_.find(ticket);
  if (found == copies_.end()) return {BATON_NOT_FOUND, Text("copy ", ticket, " is not known")};
  {
    const std::lock_guard lock(mutex_);
    if (found->second->phase != Copy::Phase::kEnded) return {};
  }
  const std::shared_ptr<Copy> copy = std::move(found->second);
  copies_.erase(found);
  BATON_PLUGIN_TRY(copy->fault);
  *done = true;
  *copy_us = copy->copy_us;
  return {};
}

void CopyQueue::Cancel(uint64_t ticket) {
  const auto found = copies_.find(ticket);
  if (found == copies_.end()) return;
  const std::shared_ptr<Copy> copy = std::move(found->second);
  copies_.erase(found);
  std::unique_lock lock(mutex_);
  copy->cancelled = true;
  std::erase(queue_, copy);
  changed_.wait(lock, [&] { return copy->phase != Copy::Phase::kRuns; });
}

bool CopyQueue::Cancelled(const Copy& copy) {
  const std::lock_guard lock(mutex_);
  return stopping_ || copy.cancelled;
}

void CopyQueue::Run() {
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
    copy->fault = device_.carry(copy->job, [&] { return Cancelled(*copy); });
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

}  // namespace baton::plugin
