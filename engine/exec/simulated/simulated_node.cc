#include "engine/exec/simulated/simulated_node.h"

#include <utility>

#include "engine/base/strings.h"
#include "engine/exec/simulated/simulated_executor.h"
#include "engine/exec/simulated/simulated_path.h"

namespace baton {
namespace {

// A path that keeps the node whose timeline it uses.
class KeptPath final : public CopyPath {
 public:
  KeptPath(std::shared_ptr<SimulatedNode> node, std::unique_ptr<SimulatedPath> path)
      : node_(std::move(node)), path_(std::move(path)) {}

  const std::string& name() const override { return path_->name(); }
  bool Connects(const MemorySpace& source, const MemorySpace& destination) const override {
    return path_->Connects(source, destination);
  }
  bool Converts() const override { return path_->Converts(); }
  absl::StatusOr<Ticket> Post(const Job& job) override { return path_->Post(job); }
  absl::StatusOr<bool> Poll(Ticket ticket) override { return path_->Poll(ticket); }
  void Cancel(Ticket ticket) override { path_->Cancel(ticket); }

 private:
  const std::shared_ptr<SimulatedNode> node_;  // outlives the path
  const std::unique_ptr<SimulatedPath> path_;
};

// Where two devices have no path of their own, but each one to or from the host: store and forward.
std::vector<SimulatedPathOptions> WithStaged(std::vector<SimulatedPathOptions> paths) {
  constexpr MemorySpace kHost{.kind = MemorySpace::Kind::kHost};
  const std::vector<SimulatedPathOptions> given = paths;
  for (const SimulatedPathOptions& in : given) {
    for (const SimulatedPathOptions& out : given) {
      if (in.to != kHost || out.from != kHost || in.from == out.to) continue;
      paths.push_back({.name = StrCat(in.name, "+", out.name),
                       .from = in.from,
                       .to = out.to,
                       .gb_per_s = 1 / (1 / in.gb_per_s + 1 / out.gb_per_s),
                       .latency_us = in.latency_us + out.latency_us});
    }
  }
  return paths;
}

}  // namespace

SimulatedNode::SimulatedNode(SimulationOptions options, const Clock& clock, Timeline::Warp warp,
                             const ThreadPlacement& placement)
    : options_(std::move(options)), timeline_(clock, std::move(warp), placement) {
  for (const SimulatedDeviceOptions& device : options_.devices) {
    devices_.emplace(device.name, std::make_shared<SimulatedDevice>(device, timeline_));
  }
}

std::shared_ptr<SimulatedNode> SimulatedNode::Create(SimulationOptions options, const Clock& clock,
                                                     Timeline::Warp warp,
                                                     const ThreadPlacement& placement) {
  std::shared_ptr<SimulatedNode> node(
      new SimulatedNode(std::move(options), clock, std::move(warp), placement));
  for (const auto& [name, device] : node->devices_) device->Start();
  return node;
}

SimulatedNode::Parts SimulatedNode::Make(std::unique_ptr<Executor> cpu) {
  Parts parts;
  Executor& shared = *cpu;
  parts.executors.push_back(nullptr);  // the CPU's place
  std::map<MemorySpace, std::shared_ptr<SimulatedDevice>> by_space;
  int ordinal = 0;
  for (const SimulatedDeviceOptions& options : options_.devices) {
    const auto& device = devices_.at(options.name);
    if (options.platform == Platform::kCpu) {
      parts.executors.front() =
          MakeSimulatedExecutor(device, shared, std::move(cpu), 0, shared_from_this());
      continue;
    }
    by_space.emplace(options.space, device);
    parts.executors.push_back(
        MakeSimulatedExecutor(device, shared, nullptr, ++ordinal, shared_from_this()));
  }
  if (cpu != nullptr) parts.executors.front() = std::move(cpu);
  const auto device_at = [&](const MemorySpace& space) -> std::shared_ptr<SimulatedDevice> {
    const auto it = by_space.find(space);
    return it == by_space.end() ? nullptr : it->second;
  };
  for (const SimulatedPathOptions& options : WithStaged(options_.paths)) {
    auto path = std::make_unique<SimulatedPath>(options, device_at(options.from),
                                                device_at(options.to), timeline_);
    paths_.emplace(options.name, path.get());
    parts.paths.push_back(std::make_unique<KeptPath>(shared_from_this(), std::move(path)));
  }
  return parts;
}

absl::Status SimulatedNode::Inject(std::string_view name, SimulatedFault fault, double factor) {
  if (const auto device = devices_.find(name); device != devices_.end()) {
    device->second->Inject(fault, factor);
    return absl::OkStatus();
  }
  const auto path = paths_.find(name);
  if (path == paths_.end()) {
    return absl::NotFoundError(StrCat("there is no simulated device or path ", name));
  }
  path->second->Inject(fault, factor);
  return absl::OkStatus();
}

size_t SimulatedNode::open_copies() const {
  size_t open = 0;
  for (const auto& [name, path] : paths_) open += path->open_count();
  return open;
}

}  // namespace baton
