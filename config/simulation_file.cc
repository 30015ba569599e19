#include "config/simulation_file.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "config/text_file.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_reader.h"
#include "engine/peer/peer_options.h"

namespace baton {

// The word of a failure script.
static std::string_view Name(SimulatedFault fault) {
  switch (fault) {
    case SimulatedFault::kFail:
      return "fail";
    case SimulatedFault::kHang:
      return "hang";
    case SimulatedFault::kSlow:
      return "slow";
    case SimulatedFault::kLose:
      return "lose";
    case SimulatedFault::kRecover:
      return "recover";
  }
  return "";
}

namespace {

constexpr double kDevicesMax = 16;
constexpr Range kPaths = {0, 64};
constexpr Range kPoints = {1, 64};
constexpr Range kFaults = {0, 256};
constexpr Range kUs = {0, 1e9};

absl::Status ReadPoints(const YamlReader& reader, const YAML::Node& list, const std::string& path,
                        std::vector<CurvePoint>& points) {
  return reader.ReadList(
      list, path, kPoints,
      [&](const YAML::Node& entry, const std::string& entry_path) -> absl::Status {
        if (!entry.IsSequence() || entry.size() != 2) {
          return reader.Error(entry, StrCat(entry_path, " must be [x, us]"));
        }
        CurvePoint point;
        RETURN_IF_ERROR(
            reader.ReadNumber(entry[0], StrCat(entry_path, "[0]"), {0, 1e12}, false, point.x));
        RETURN_IF_ERROR(
            reader.ReadNumber(entry[1], StrCat(entry_path, "[1]"), kUs, false, point.us));
        if (!points.empty() && point.x <= points.back().x) {
          return reader.Error(entry, StrCat(entry_path, ": x must ascend, but ", point.x,
                                            " follows ", points.back().x));
        }
        points.push_back(point);
        return absl::OkStatus();
      });
}

absl::Status ReadCurve(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       CurveOptions& curve) {
  const auto points = [&](const char* name, std::vector<CurvePoint>& into) {
    return YamlReader::Key{name,
                           [&reader, &into](const YAML::Node& list, const std::string& list_path) {
                             return ReadPoints(reader, list, list_path, into);
                           }};
  };
  RETURN_IF_ERROR(reader.ReadMap(
      node, path,
      {reader.Number("fixed_us", curve.fixed_us, kUs),
       reader.Number("per_item_us", curve.per_item_us, kUs),
       reader.Number("per_context_us", curve.per_context_us, kUs), points("points", curve.points),
       points("context_points", curve.context_points)}));
  const bool takes_time = curve.fixed_us + curve.per_item_us + curve.per_context_us > 0 ||
                          !curve.points.empty() || !curve.context_points.empty();
  if (!takes_time) return reader.Error(node, StrCat(path, " takes no time at all"));
  return absl::OkStatus();
}

YamlReader::Key Faults(const YamlReader& reader, std::vector<FaultStep>& steps) {
  const auto read = [&](const YAML::Node& entry, const std::string& path) -> absl::Status {
    FaultStep step;
    std::optional<double> factor;
    const std::vector<SimulatedFault> faults = {SimulatedFault::kFail, SimulatedFault::kHang,
                                                SimulatedFault::kSlow, SimulatedFault::kLose,
                                                SimulatedFault::kRecover};
    RETURN_IF_ERROR(reader.ReadMap(
        entry, path,
        {reader.Number("at_s", step.at_s, {0, 1e7}),
         reader.Integer("at_batch", step.at_batch, {1, 1e12}),
         reader.Choice("do", step.fault, faults), reader.Number("factor", factor, {0.001, 1e6})}));
    if (step.at_s.has_value() == step.at_batch.has_value()) {
      return reader.Error(entry, StrCat(path, " must have either at_s or at_batch"));
    }
    if (factor.has_value() != (step.fault == SimulatedFault::kSlow)) {
      return reader.Error(entry, StrCat(path, ".factor belongs to slow, and slow needs it"));
    }
    step.factor = factor.value_or(step.factor);
    const auto same = [&](const FaultStep& other) {
      return step.at_s == other.at_s && step.at_batch == other.at_batch;
    };
    if (std::any_of(steps.begin(), steps.end(), same)) {
      return reader.Error(entry, StrCat(path, " is at the same moment as another one"));
    }
    steps.push_back(step);
    return absl::OkStatus();
  };
  return reader.List("faults", kFaults, read, false);
}

absl::Status ReadLatency(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                         SimulatedDeviceOptions& device) {
  static constexpr WorkClass kClasses[] = {
      WorkClass::kPrefill, WorkClass::kDecode, WorkClass::kSearchSingle, WorkClass::kSearchBulk,
      WorkClass::kEmbed,   WorkClass::kRerank, WorkClass::kKmeans};
  const auto of = [&](WorkClass c) -> std::optional<CurveOptions>& {
    return device.latency[static_cast<size_t>(c)];
  };
  std::vector<YamlReader::Key> keys;
  for (const WorkClass c : kClasses) {
    keys.push_back(
        {std::string(Name(c)), [&, c](const YAML::Node& value, const std::string& curve_path) {
           return ReadCurve(reader, value, curve_path, of(c).emplace());
         }});
  }
  RETURN_IF_ERROR(reader.ReadMap(node, path, keys));
  if (node.size() == 0) {
    return reader.Error(node, StrCat(path, " must name a class of work at least"));
  }
  if (of(WorkClass::kPrefill).has_value() != of(WorkClass::kDecode).has_value()) {
    return reader.Error(node, StrCat(path,
                                     " has prefill or decode, but not both: a device that runs a "
                                     "language model must have both"));
  }
  return absl::OkStatus();
}

absl::Status CheckOwnName(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                          const std::string& name) {
  if (name != "host") return absl::OkStatus();
  return reader.Error(node, StrCat(path, ".name must not be \"host\", which is this machine"));
}

// What entries say of each other.
absl::Status AddDevice(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       std::optional<int64_t> bank, int64_t seed, SimulatedDeviceOptions device,
                       std::vector<SimulatedDeviceOptions>& devices) {
  if (device.power_idle_w > device.power_max_w) {
    return reader.Error(node, StrCat(path, ".power_idle_w is ", device.power_idle_w,
                                     ", but power_max_w ", device.power_max_w));
  }
  if (device.exclusive && device.search_lanes > 1) {
    return reader.Error(node,
                        StrCat(path, ": exclusive and search_lanes above 1 contradict each other"));
  }
  if (bank && device.platform != Platform::kFpga) {
    return reader.Error(node, StrCat(path, ".bank belongs to an fpga"));
  }
  int32_t before = 0;  // of the same platform
  for (const SimulatedDeviceOptions& other : devices) {
    if (other.name == device.name) {
      return reader.Error(node, StrCat(path, ".name \"", device.name, "\" is given twice"));
    }
    before += other.platform == device.platform ? 1 : 0;
  }
  switch (device.platform) {
    case Platform::kCpu:
      if (before > 0) return reader.Error(node, StrCat(path, ": there is one cpu at most"));
      break;
    case Platform::kGpu:
      device.space = {.kind = MemorySpace::Kind::kCuda, .device = before};
      break;
    case Platform::kFpga:
      device.space = {.kind = MemorySpace::Kind::kFpga,
                      .device = before,
                      .bank = static_cast<int32_t>(bank.value_or(0))};
      break;
  }
  device.seed = static_cast<uint64_t>(seed) * static_cast<uint64_t>(kDevicesMax) + devices.size();
  devices.push_back(std::move(device));
  return absl::OkStatus();
}

absl::Status ReadDevice(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                        int64_t seed, std::vector<SimulatedDeviceOptions>& devices) {
  SimulatedDeviceOptions device;
  std::optional<int64_t> bank;
  std::optional<int64_t> numa_node;
  int64_t memory_mb = 0;
  int64_t lanes = 1;
  const std::vector<Platform> platforms = {Platform::kCpu, Platform::kGpu, Platform::kFpga};
  const auto read_latency = [&](const YAML::Node& value, const std::string& latency_path) {
    return ReadLatency(reader, value, latency_path, device);
  };
  RETURN_IF_ERROR(reader.ReadMap(node, path,
                                 {reader.PlainName("name", device.name, true),
                                  reader.Choice("platform", device.platform, platforms),
                                  reader.Integer("bank", bank, {0, 255}),
                                  reader.Integer("numa_node", numa_node, {0, 1023}),
                                  {"latency", read_latency, true},
                                  reader.Number("noise_sigma", device.noise_sigma, {0, 3}),
                                  reader.Integer("memory_mb", memory_mb, {1, 1e9}),
                                  reader.Number("power_idle_w", device.power_idle_w, {0, 1e5}),
                                  reader.Number("power_max_w", device.power_max_w, {0, 1e5}),
                                  reader.Integer("queue_batches", device.queue_batches, {1, 1e6}),
                                  reader.Integer("search_lanes", lanes, {1, 1024}),
                                  reader.Boolean("exclusive", device.exclusive),
                                  Faults(reader, device.faults)}));
  RETURN_IF_ERROR(CheckOwnName(reader, node, path, device.name));
  if (numa_node && device.platform == Platform::kCpu) {
    return reader.Error(node, StrCat(path, ".numa_node belongs to a gpu or an fpga"));
  }
  device.numa_node = static_cast<int32_t>(numa_node.value_or(-1));
  device.memory_bytes = memory_mb << 20;
  device.search_lanes = static_cast<int32_t>(lanes);
  return AddDevice(reader, node, path, bank, seed, std::move(device), devices);
}

absl::Status AddPath(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                     SimulatedPathOptions added, SimulationOptions& options) {
  const auto taken = [&](const auto& other) { return other.name == added.name; };
  if (std::any_of(options.paths.begin(), options.paths.end(), taken) ||
      std::any_of(options.devices.begin(), options.devices.end(), taken)) {
    return reader.Error(node, StrCat(path, ".name \"", added.name, "\" is given twice"));
  }
  const auto same = [&](const SimulatedPathOptions& other) {
    return other.from == added.from && other.to == added.to;
  };
  if (std::any_of(options.paths.begin(), options.paths.end(), same)) {
    return reader.Error(node, StrCat(path, ": there are two from ", ToString(added.from), " to ",
                                     ToString(added.to)));
  }
  options.paths.push_back(std::move(added));
  return absl::OkStatus();
}

absl::Status ReadPath(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                      SimulationOptions& options) {
  SimulatedPathOptions read;
  bool both_ways = true;
  const auto end = [&](const char* key, MemorySpace& space) {
    return YamlReader::Key{
        key,
        [&](const YAML::Node& value, const std::string& end_path) {
          const std::string name = value.IsScalar() ? value.Scalar() : "";
          space = {.kind = MemorySpace::Kind::kHost};
          if (name == "host") return absl::OkStatus();
          for (const SimulatedDeviceOptions& device : options.devices) {
            if (device.name != name) continue;
            space = device.space;
            return absl::OkStatus();
          }
          return reader.Error(value,
                              StrCat(end_path, " must be host or the name of a device, but is \"",
                                     Escaped(name), "\""));
        },
        true};
  };
  RETURN_IF_ERROR(reader.ReadMap(
      node, path,
      {reader.PlainName("name", read.name, true), end("from", read.from), end("to", read.to),
       reader.Number("gb_per_s", read.gb_per_s, {1e-6, 1e6}, true),
       reader.Number("latency_us", read.latency_us, kUs), reader.Boolean("both_ways", both_ways),
       Faults(reader, read.faults)}));
  RETURN_IF_ERROR(CheckOwnName(reader, node, path, read.name));
  if (read.from == read.to) {
    return reader.Error(node, StrCat(path, ": from and to are one memory, ", ToString(read.from)));
  }
  RETURN_IF_ERROR(AddPath(reader, node, path, read, options));
  if (!both_ways) return absl::OkStatus();
  std::swap(read.from, read.to);
  read.name += "-back";
  return AddPath(reader, node, path, std::move(read), options);
}

absl::Status ReadPeer(const YamlReader& reader, const YAML::Node& node,
                      SimulationOptions& options) {
  RETURN_IF_ERROR(reader.ReadMap(
      node, "peer", {reader.PlainName("hold_at", options.peer_hold_at, /*required=*/true)}));
  std::string points;
  for (const char* point : kPeerHoldPoints) {
    if (options.peer_hold_at == point) return absl::OkStatus();
    points += StrCat(points.empty() ? "" : ", ", point);
  }
  return reader.Error(node, StrCat("peer.hold_at must be one of ", points, ", but is \"",
                                   Escaped(options.peer_hold_at), "\""));
}

absl::Status ReadRoot(const YamlReader& reader, const YAML::Node& root,
                      SimulationOptions& options) {
  int64_t seed = 1;
  // Devices need the seed, and paths the devices, in whatever order the file has them.
  YAML::Node devices;
  YAML::Node paths;
  YAML::Node peer;
  const auto keep = [](YAML::Node& into) {
    return [&into](const YAML::Node& value, const std::string&) {
      into.reset(value);
      return absl::OkStatus();
    };
  };
  RETURN_IF_ERROR(reader.ReadMap(root, "",
                                 {reader.Integer("seed", seed, {0, 1e15}),
                                  {"devices", keep(devices)},
                                  {"paths", keep(paths)},
                                  {"peer", keep(peer)}}));
  if (!peer.IsNull()) {
    RETURN_IF_ERROR(ReadPeer(reader, peer, options));
    if (devices.IsNull() && paths.IsNull()) return absl::OkStatus();
  }
  if (devices.IsNull()) return reader.Error(root, "devices is missing");
  RETURN_IF_ERROR(reader.ReadList(devices, "devices", {1, kDevicesMax},
                                  [&](const YAML::Node& entry, const std::string& path) {
                                    return ReadDevice(reader, entry, path, seed, options.devices);
                                  }));
  if (paths.IsNull()) return absl::OkStatus();
  return reader.ReadList(paths, "paths", kPaths,
                         [&](const YAML::Node& entry, const std::string& path) {
                           return ReadPath(reader, entry, path, options);
                         });
}

}  // namespace

absl::StatusOr<SimulationOptions> ParseSimulation(std::string_view text, const std::string& name) {
  SimulationOptions options;
  RETURN_IF_ERROR(ReadYamlDocument(std::string(text), name,
                                   [&](const YamlReader& reader, const YAML::Node& root) {
                                     return ReadRoot(reader, root, options);
                                   }));
  return options;
}

absl::StatusOr<SimulationOptions> ReadSimulation(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, "simulation file"));
  return ParseSimulation(text, path);
}

}  // namespace baton
