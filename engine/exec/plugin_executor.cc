#include "engine/exec/plugin_executor.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_cluster.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_embed.h"
#include "engine/exec/plugin_graph.h"
#include "engine/exec/plugin_ivf.h"
#include "engine/exec/plugin_llm.h"
#include "engine/exec/plugin_path.h"
#include "engine/exec/plugin_search.h"
#include "engine/exec/plugin_walk_search.h"

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
  GraphSkill* graph() override { return nullptr; }
  const IvfMath* ivf() override { return nullptr; }

 private:
  const ExecutorInfo info_;
};

// A device in use.
class WorkingExecutor final : public Executor {
 public:
  WorkingExecutor(ExecutorInfo info, std::shared_ptr<PluginDevice> device,
                  const PluginExecutorOptions& options, const Clock& clock)
      : info_(std::move(info)), device_(device), llm_(device, options.llm_queue_batches, clock) {
    if (PluginWalkSearch::CanWork(device->table()) && options.search_memory_bytes > 0) {
      walk_search_.emplace(device,
                           PluginWalkSearch::Options{.threads = options.search_threads,
                                                     .queue_batches = options.search_queue_batches},
                           clock);
    }
    if (PluginCluster::CanWork(device->table()) && options.cluster_sample_bytes > 0) {
      cluster_.emplace(device,
                       ClusterBatches::Options{.device = device->options().label,
                                               .sample_bytes_max = options.cluster_sample_bytes},
                       clock);
    }
    if (PluginEmbed::CanWork(device->table())) {
      embed_.emplace(device, options.embed_queue_batches, clock);
    }
    if (PluginIvf::CanWork(device->table()) && options.builds_inverted_files) ivf_.emplace(device);
    if (!PluginSearch::CanWork(device->table())) return;
    if (options.search_memory_bytes > 0) {
      search_.emplace(device,
                      PluginSearch::Options{.memory_bytes_max = options.search_memory_bytes,
                                            .threads = options.search_threads,
                                            .queue_batches = options.search_queue_batches},
                      clock);
    }
    if (options.builds_graphs) graph_.emplace(device);
  }

  const ExecutorInfo& Describe() const override { return info_; }
  ExecutorSample Sample() const override {
    PluginDevice::Sample taken = device_->TakeSample();
    const int32_t queued = llm_.queue_depth() + (search_ ? search_->queue_depth() : 0) +
                           (walk_search_ ? walk_search_->queue_depth() : 0) +
                           (cluster_ ? cluster_->queue_depth() : 0) +
                           (embed_ ? embed_->queue_depth() : 0);
    std::optional<GraphResidency> graphs;
    if (walk_search_) {
      graphs = walk_search_->graphs().Residency();
      graphs->bytes = taken.walk_bytes;
    }
    return {.healthy = taken.lost.empty(),
            .trouble = std::move(taken.lost),
            .queue_depth = queued,
            .memory_bytes_used = taken.memory_bytes_used,
            .load = queued > 0 ? 1.0 : 0.0,
            .temperature_c = taken.temperature_c,
            .power_w = taken.power_w,
            .utilisation = taken.utilisation,
            .memory_errors = taken.memory_errors,
            .graphs = std::move(graphs)};
  }
  LlmSkill* llm() override { return &llm_; }
  SearchSkill* search() override {
    if (search_) return &*search_;
    return walk_search_ ? &*walk_search_ : nullptr;
  }
  EmbedSkill* embed() override { return embed_ ? &*embed_ : nullptr; }
  ClusterSkill* cluster() override { return cluster_ ? &*cluster_ : nullptr; }
  GraphSkill* graph() override { return graph_ ? &*graph_ : nullptr; }
  const IvfMath* ivf() override { return ivf_ ? &*ivf_ : nullptr; }

 private:
  const ExecutorInfo info_;
  const std::shared_ptr<PluginDevice> device_;
  PluginLlm llm_;
  std::optional<PluginSearch> search_;  // by rows, or else by walks
  std::optional<PluginWalkSearch> walk_search_;
  std::optional<PluginGraph> graph_;
  std::optional<PluginIvf> ivf_;
  std::optional<PluginCluster> cluster_;
  std::optional<PluginEmbed> embed_;
};

template <size_t N>
std::string Text(const char (&text)[N]) {
  return std::string(text, strnlen(text, N));
}

int64_t MemoryOf(const baton_device& device) {
  constexpr auto kMemoryMax = static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
  return static_cast<int64_t>(std::min(device.memory_bytes_total, kMemoryMax));
}

// Device `index` of `used`.
ExecutorInfo Present(const PluginKind& kind, const LoadedPlugin& plugin, size_t index,
                     size_t used) {
  const baton_device& device = plugin.devices[index];
  ExecutorInfo info;
  info.platform = kind.platform;
  info.device = Text(device.name);
  if (used > 1) absl::StrAppend(&info.device, " #", index);
  info.present = true;
  info.emulated = device.emulated != 0;
  info.detail = StrCat(Text(device.detail), "; plug-in ", plugin.table->version);
  if (used < plugin.devices.size()) {
    absl::StrAppend(&info.detail, "; ", used == 1 ? "the first" : "one", " of ",
                    plugin.devices.size(), " devices");
  }
  info.pci_address = Text(device.pci_address);
  info.memory_bytes_total = MemoryOf(device);
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

PluginExecutor MakeOne(const PluginKind& kind, const PluginExecutorOptions& options,
                       const LoadedPlugin& plugin, size_t index, size_t used, const Clock& clock) {
  ExecutorInfo info = Present(kind, plugin, index, used);
  if (!PluginDevice::CanWork(*plugin.table)) {
    info.reason =
        StrCat("device present, but this build's ", kind.label, " plug-in offers no skills");
    return Described(std::move(info));
  }
  const auto number = static_cast<int32_t>(index);
  absl::StatusOr<std::shared_ptr<PluginDevice>> device =
      PluginDevice::Open(plugin, {.label = kind.label,
                                  .index = number,
                                  .f32_activations = options.f32_activations,
                                  .step_tokens_max = options.step_tokens_max,
                                  .warm_up = options.warm_up,
                                  .decode_graphs_max = options.decode_graphs_max,
                                  .programmatic_launches = options.programmatic_launches,
                                  .space = {.kind = options.memory, .device = number},
                                  .kv_type = options.kv_type,
                                  .image = options.image,
                                  .bank_bytes_max = options.bank_bytes_max,
                                  .run_timeout_ms = options.run_timeout_ms,
                                  .walk_bytes_max = options.search_memory_bytes});
  if (!device.ok()) {
    info.reason = StrCat("device present, but it cannot be taken into use: ",
                         std::string(device.status().message()));
    Log().warn("executor {} {}: {}", Name(kind.platform), info.device, info.reason);
    return Described(std::move(info));
  }
  baton_device opened = plugin.devices[index];
  (*device)->Describe(&opened);
  info.emulated = opened.emulated != 0;
  info.memory_bytes_total = MemoryOf(opened);
  if (info.emulated && !options.takes_emulated) {
    info.reason = StrCat("device emulated, and not asked for: executors.", Name(kind.platform),
                         ".enabled must be emulate");
    Log().warn("executor {} {}: {}", Name(kind.platform), info.device, info.reason);
    return Described(std::move(info));
  }
  PluginExecutor made;
  for (const auto direction :
       {PluginPath::Direction::kToDevice, PluginPath::Direction::kFromDevice}) {
    made.paths.push_back(std::make_unique<PluginPath>(*device, direction));
  }
  made.mapper = *device;
  made.executor =
      std::make_unique<WorkingExecutor>(std::move(info), *std::move(device), options, clock);
  return made;
}

}  // namespace

std::vector<PluginExecutor> MakePluginExecutors(const PluginKind& kind,
                                                const PluginExecutorOptions& options,
                                                const Clock& clock) {
  if (options.enabled) {
    return MakePluginExecutors(kind, options, LoadPlugin(kind, options.path), clock);
  }
  std::vector<PluginExecutor> none;
  none.push_back(Described(Absent(kind, StrCat(kind.label, " switched off by the configuration"))));
  return none;
}

std::vector<PluginExecutor> MakePluginExecutors(const PluginKind& kind,
                                                const PluginExecutorOptions& options,
                                                const absl::StatusOr<LoadedPlugin>& plugin,
                                                const Clock& clock) {
  std::vector<PluginExecutor> made;
  if (!plugin.ok()) {
    made.push_back(Described(Absent(kind, std::string(plugin.status().message()))));
    return made;
  }
  size_t used = plugin->devices.size();
  if (options.devices_max > 0) used = std::min(used, static_cast<size_t>(options.devices_max));
  for (size_t i = 0; i < used; ++i) {
    made.push_back(MakeOne(kind, options, *plugin, i, used, clock));
  }
  return made;
}

PluginExecutor MakePluginExecutor(const PluginKind& kind, const PluginExecutorOptions& options,
                                  const Clock& clock) {
  PluginExecutorOptions first = options;
  first.devices_max = 1;
  return std::move(MakePluginExecutors(kind, first, clock).front());
}

}  // namespace baton
