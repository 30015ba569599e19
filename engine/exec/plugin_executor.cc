#include "engine/exec/plugin_executor.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "engine/base/strings.h"

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
  info.reason =
      StrCat("device present, but this build's ", kind.label, " plug-in offers no skills");
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

}  // namespace

std::unique_ptr<Executor> MakePluginExecutor(const PluginKind& kind, bool enabled,
                                             const std::string& path) {
  if (!enabled) {
    return std::make_unique<DescribedExecutor>(
        Absent(kind, StrCat(kind.label, " switched off by the configuration")));
  }
  const absl::StatusOr<LoadedPlugin> plugin = LoadPlugin(kind, path);
  return std::make_unique<DescribedExecutor>(
      plugin.ok() ? Present(kind, *plugin) : Absent(kind, std::string(plugin.status().message())));
}

}  // namespace baton
