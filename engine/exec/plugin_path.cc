#include "engine/exec/plugin_path.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_kv.h"
#include "engine/transfer/host_copy_path.h"

namespace baton {

PluginPath::PluginPath(std::shared_ptr<PluginDevice> device, Direction direction)
    : device_(std::move(device)),
      direction_(direction),
      name_(StrCat(direction == Direction::kToDevice ? "host_to_" : "host_from_",
                   ToString(device_->options().space))) {}

bool PluginPath::Connects(const MemorySpace& source, const MemorySpace& destination) const {
  const MemorySpace& own = device_->options().space;
  return direction_ == Direction::kToDevice ? destination == own && IsHostMemory(source)
                                            : source == own && IsHostMemory(destination);
}

bool PluginPath::Packs(const KvConversion& conversion) const {
  constexpr size_t kPacks =
      offsetof(baton_executor_plugin, copy_packed) + sizeof(baton_executor_plugin::copy_packed);
  const baton_executor_plugin& table = device_->table();
  if (direction_ != Direction::kFromDevice || table.struct_size < kPacks ||
      table.copy_packed == nullptr) {
    return false;
  }
  const KvLayout& to = conversion.destination;
  const int32_t together = std::max(conversion.source.block_tokens, to.block_tokens);
  return to.head_dim <= BATON_PACKED_HEAD_DIM_MAX &&
         to.layer_bytes() * (together / to.block_tokens) <= BATON_PACKED_LAYER_BYTES_MAX;
}

absl::StatusOr<CopyPath::Ticket> PluginPath::PostPacked(const Job& job) {
  const KvConversion& conversion = *job.conversion;
  RETURN_IF_ERROR(CheckConversion(
      conversion, {.source = job.sources.size(), .destination = job.destinations.size()}));
  const baton_kv_packing packing = {.struct_size = sizeof(packing),
                                    .reserved = 0,
                                    .source = AbiKvLayoutOf(conversion.source),
                                    .destination = AbiKvLayoutOf(conversion.destination),
                                    .tokens = conversion.tokens,
                                    .layer_begin = conversion.layer_begin,
                                    .layer_end = conversion.layer_end,
                                    .sources = job.sources.data(),
                                    .destinations = job.destinations.data()};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  uint64_t ticket = 0;
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device_->table().copy_packed(device_->handle(), &packing, &ticket, &error), error));
  return ticket;
}

absl::StatusOr<CopyPath::Ticket> PluginPath::Post(const Job& job) {
  if (job.conversion && Packs(*job.conversion)) return PostPacked(job);
  if (job.conversion || job.sources.size() != job.destinations.size()) {
    return absl::InvalidArgumentError(StrCat("path ", name_, ": a copy of ", job.sources.size(),
                                             " blocks to ", job.destinations.size(),
                                             job.conversion ? " with a conversion" : ""));
  }
  if (job.sources.empty()) return Ticket{0};
  const baton_copy copy = {.struct_size = sizeof(copy),
                           .direction = direction_ == Direction::kToDevice ? BATON_COPY_TO_DEVICE
                                                                           : BATON_COPY_FROM_DEVICE,
                           .sources = job.sources.data(),
                           .destinations = job.destinations.data(),
                           .count = std::ssize(job.sources),
                           .block_bytes = job.block_bytes};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  uint64_t ticket = 0;
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device_->table().copy_post(device_->handle(), &copy, &ticket, &error), error));
  return ticket;
}

absl::StatusOr<bool> PluginPath::Poll(Ticket ticket) {
  if (ticket == 0) return true;  // of nothing
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  uint32_t done = 0;
  uint64_t copy_us = 0;
  RETURN_IF_ERROR(PluginDevice::StatusOf(
      device_->table().copy_poll(device_->handle(), ticket, &done, &copy_us, &error), error));
  if (done == 0) return false;
  completed_ = ticket;
  completed_us_ = static_cast<TimeUs>(copy_us);
  return true;
}

std::optional<TimeUs> PluginPath::CopyUs(Ticket ticket) const {
  if (ticket == 0 || ticket != completed_) return std::nullopt;
  return completed_us_;
}

void PluginPath::Cancel(Ticket ticket) {
  if (ticket != 0) device_->table().copy_cancel(device_->handle(), ticket);
}

}  // namespace baton
