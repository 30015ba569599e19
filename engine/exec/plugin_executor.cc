#include "engine/exec/plugin_executor.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_llm.h"
#include "engine/exec/plugin_path.h"

namespace baton {
namespace {

// A device, or the lack of one, that takes no work.
class DescribedExecutor final : public Executor {
 public:
  explicit DescribedExecutor(ExecutorInfo info) : info_(std::move(info)) {}

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override { return {.healthy = info_.present}; }
  LlmSkill* llm() override { return nullptr; }
  SearchSkill* search() override { return nullptr; }
  EmbedSkill* embed() override { return nullptr; }
  ClusterSkill* cluster() override { return nullptr; }

 private:
  const ExecutorInfo info_;
};

// A device in use.
class WorkingExecutor final : public Executor {
 public:
  WorkingExecutor(ExecutorInfo info, std::shared_ptr<PluginDevice> device, int64_t queue_batches,
                  const Clock& clock)
      : info_(std::move(info)), device_(device), llm_(std::move(device), queue_batches, clock) {}

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override {
    PluginDevice::Sample taken = device_->TakeSample();
    const int32_t queued = llm_.queue_depth();
    return {.healthy = taken.lost.empty(),
            .trouble = std::move(taken.lost),
            .queue_depth = queued,
            .memory_bytes_used = taken.memory_bytes_used,
            .load = queued > 0 ? 1.0 : 0.0};
  }
  LlmSkill* llm() override { return &llm_; }
  SearchSkill* search() override { return nullptr; }
  EmbedSkill* embed() override { return nullptr; }
  ClusterSkill* cluster() override { return nullptr; }

 private:
  const ExecutorInfo info_;
  const std::shared_ptr<PluginDevice> device_;
  PluginLlm llm_;
};

template <size_t N>
std::string Text(const char (&text)[N]) {
  return std::string(text, strnlen(text, N));
}

ExecutorInfo Present(const PluginKind& kind, const LoadedPlugin& plugin) {
  const baton_device& device = plugin.devices.front();
  constexpr auto kMemoryMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  ExecutorInfo info;
  info.platform = kind.platform;
  info.device = Text(device.name);
  info.present = true;
  info.emulated = device.emulated != 0;
  info.detail = StrCat(Text(device.detail), "; plug-in ", plugin.table->version);
  if (plugin.devices.size() > 1) {
    absl::StrAppend(&info.detail, "; the first of ", plugin.devices.size(), " devices");
  }
  info.pci_address = Text(device.pci_address);
  info.memory_bytes_total = static_cast<int64_t>(std::min(device.memory_bytes_total, kMemoryMax));
  return info;
}

ExecutorInfo Absent(const PluginKind& kind, std::string reason) {
  ExecutorInfo info;
  info.platform = kind.platform;
  info.device = Name(kind.platform);
  info.reason = std::move(reason);
  return info;
}

PluginExecutor Described(ExecutorInfo info) {
  return {.executor = std::make_unique<DescribedExecutor>(std::move(info))};
}

}  // namespace

PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const Clock& clock) {
  if (!options.enabled) {
    return Described(Absent(kind, StrCat(kind.label, " switched off by the configuration")));
  }
  return MakePluginExecutor(kind, options, LoadPlugin(kind, options.path), clock);
}

PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const absl::StatusOr<LoadedPlugin>& plugin, const Clock& clock) {
  if (!plugin.ok()) return Described(Absent(kind, std::string(plugin.status().message())));
  ExecutorInfo info = Present(kind, *plugin);
  if (!PluginDevice::CanWork(*plugin->table)) {
    info.reason =
        StrCat("device present, but this build's ", kind.label, " plug-in offers no skills");
    return Described(std::move(info));
  }
  absl::StatusOr<std::shared_ptr<PluginDevice>> device =
      PluginDevice::Open(*plugin, {.label = kind.label,
                                   .f32_activations = options.f32_activations,
                                   .step_tokens_max = options.step_tokens_max,
                                   .space = {.kind = options.memory}});
  if (!device.ok()) {
    info.reason = StrCat("device present, but it cannot be taken into use: ",
                         std::string(device.status().message()));
    Log().warn("executor {}: {}", Name(kind.platform), info.reason);
    return Described(std::move(info));
  }
  PluginExecutor made;
  for (const auto direction :
       {PluginPath::Direction::kToDevice, PluginPath::Direction::kFromDevice}) {
    made.paths.push_back(std::make_unique<PluginPath>(*device, direction));
  }
  made.executor = std::make_unique<WorkingExecutor>(std::move(info), *std::move(device),
                                                    options.llm_queue_batches, clock);
  return made;
}

}  // namespace baton
