#include "engine/exec/plugin_device.h"

#include <cstddef>
#include <cstring>
#include <utility>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

constexpr size_t kWorkingTableBytes =
    offsetof(baton_executor_plugin, copy_cancel) + sizeof(baton_executor_plugin::copy_cancel);

// What an older plug-in's table lacks.
constexpr size_t kFlagsBytes =
    offsetof(baton_executor_plugin, flags) + sizeof(baton_executor_plugin::flags);
constexpr size_t kMapTableBytes =
    offsetof(baton_executor_plugin, host_sync) + sizeof(baton_executor_plugin::host_sync);

class PluginKvMemory final : public KvMemory {
 public:
  PluginKvMemory(std::shared_ptr<const PluginDevice> device, void* memory)
      : device_(std::move(device)), memory_(memory) {}
  ~PluginKvMemory() override { device_->table().kv_free(device_->handle(), memory_); }
  std::byte* data() const override { return static_cast<std::byte*>(memory_); }

 private:
  const std::shared_ptr<const PluginDevice> device_;
  void* const memory_;
};

}  // namespace

bool PluginDevice::CanWork(const baton_executor_plugin& table) {
  return table.struct_size >= kWorkingTableBytes && table.open != nullptr;
}

absl::Status PluginDevice::StatusOf(int32_t code, const baton_error& error) {
  if (code == BATON_OK) return absl::OkStatus();
  const std::string message(error.message, strnlen(error.message, sizeof(error.message)));
  switch (code) {
    case BATON_CANCELLED:
      return absl::CancelledError(message);
    case BATON_INVALID_ARGUMENT:
      return absl::InvalidArgumentError(message);
    case BATON_NOT_FOUND:
      return absl::NotFoundError(message);
    case BATON_RESOURCE_EXHAUSTED:
      return absl::ResourceExhaustedError(message);
    case BATON_UNIMPLEMENTED:
      return absl::UnimplementedError(message);
    case BATON_UNAVAILABLE:
      return absl::UnavailableError(message);
    case BATON_INTERNAL:
      return absl::InternalError(message);
    default:
      return absl::InternalError(StrCat("the plug-in's unknown code ", code, ": ", message));
  }
}

absl::StatusOr<std::shared_ptr<PluginDevice>> PluginDevice::Open(const LoadedPlugin& plugin,
                                                                 const Options& options) {
  std::shared_ptr<PluginDevice> device(new PluginDevice(*plugin.table, options));
  const baton_device_options asked = {
      .struct_size = sizeof(asked),
      .index = static_cast<uint32_t>(options.index),
      .activations = options.f32_activations ? BATON_ACTIVATIONS_F32 : BATON_ACTIVATIONS_BF16,
      .step_tokens_max = options.step_tokens_max,
      .device_image = options.image.c_str(),
      .bank_bytes_max = static_cast<uint64_t>(options.bank_bytes_max),
      .run_timeout_ms = options.run_timeout_ms,
      .decode_graphs_max = options.decode_graphs_max,
      .walk_bytes_max = static_cast<uint64_t>(options.walk_bytes_max),
      .programmatic_launches = options.programmatic_launches ? 1 : 0};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  RETURN_IF_ERROR(
      StatusOf(plugin.table->open(&PluginHost(), &asked, &device->handle_, &error), error));
  return device;
}

PluginDevice::~PluginDevice() {
  if (handle_ != nullptr) table_.close(handle_);
}

absl::StatusOr<std::unique_ptr<KvMemory>> PluginDevice::Allocate(const Blocks& blocks) {
  constexpr size_t kKnowsBlocks = offsetof(baton_executor_plugin, kv_allocate_blocks) +
                                  sizeof(baton_executor_plugin::kv_allocate_blocks);
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  void* memory = nullptr;
  const auto count = static_cast<uint64_t>(blocks.count);
  const auto bytes = static_cast<uint64_t>(blocks.bytes);
  const bool knows = table_.struct_size >= kKnowsBlocks && table_.kv_allocate_blocks != nullptr;
  RETURN_IF_ERROR(StatusOf(knows ? table_.kv_allocate_blocks(handle_, count, bytes, &memory, &error)
                                 : table_.kv_allocate(handle_, count * bytes, &memory, &error),
                           error));
  return std::make_unique<PluginKvMemory>(shared_from_this(), memory);
}

absl::Status PluginDevice::Map(const HostExtent& extent) {
  if (table_.struct_size < kMapTableBytes || table_.host_map == nullptr) {
    return absl::UnimplementedError(StrCat("the ", options_.label, " plug-in maps no host memory"));
  }
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  return StatusOf(
      table_.host_map(handle_, extent.data, static_cast<uint64_t>(extent.bytes), &error), error);
}

void PluginDevice::Unmap(const HostExtent& extent) { table_.host_unmap(handle_, extent.data); }

absl::Status PluginDevice::Sync(const HostExtent& extent, SyncDirection direction) {
  if (table_.host_sync == nullptr) return absl::OkStatus();  // coherent
  const int32_t towards =
      direction == SyncDirection::kToDevice ? BATON_COPY_TO_DEVICE : BATON_COPY_FROM_DEVICE;
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  return StatusOf(
      table_.host_sync(handle_, extent.data, static_cast<uint64_t>(extent.bytes), towards, &error),
      error);
}

bool PluginDevice::TellsLayers() const {
  return table_.struct_size >= kFlagsBytes && (table_.flags & BATON_PLUGIN_TELLS_LAYERS) != 0;
}

bool PluginDevice::ChangesLogits() const {
  return table_.struct_size >= kFlagsBytes && (table_.flags & BATON_PLUGIN_CHANGES_LOGITS) != 0;
}

void PluginDevice::Describe(baton_device* device) const {
  constexpr size_t kDescribes =
      offsetof(baton_executor_plugin, describe) + sizeof(baton_executor_plugin::describe);
  if (table_.struct_size >= kDescribes && table_.describe != nullptr) {
    table_.describe(handle_, device);
  }
}

PluginDevice::Sample PluginDevice::TakeSample() const {
  baton_device_sample sample = {};
  sample.struct_size = sizeof(sample);
  sample.temperature_c = sample.power_w = sample.utilisation = -1;
  sample.memory_errors = sample.walk_bytes = -1;
  table_.sample(handle_, &sample);
  Sample taken{.memory_bytes_used = static_cast<int64_t>(sample.memory_bytes_used), .lost = {}};
  if (sample.temperature_c >= 0) taken.temperature_c = sample.temperature_c;
  if (sample.power_w >= 0) taken.power_w = sample.power_w;
  if (sample.utilisation >= 0) taken.utilisation = sample.utilisation;
  if (sample.memory_errors >= 0) taken.memory_errors = sample.memory_errors;
  if (sample.walk_bytes >= 0) taken.walk_bytes = sample.walk_bytes;
  if (sample.lost != 0) {
    taken.lost.assign(sample.reason, strnlen(sample.reason, sizeof(sample.reason)));
    if (taken.lost.empty()) taken.lost = "the device is lost, restart needed";
  }
  return taken;
}

}  // namespace baton
