#include "config/simulation_file.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "config/quoted.h"
#include "config/text_file.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_documents.h"
#include "yaml-cpp/yaml.h"

namespace baton {
namespace {

constexpr size_t kDevicesMax = 16;
constexpr size_t kPathsMax = 64;
constexpr size_t kPointsMax = 64;
constexpr size_t kFaultsMax = 256;
constexpr double kUsMax = 1e9;
constexpr MemorySpace kHostSpace{.kind = MemorySpace::Kind::kHost};

using Fields = std::map<std::string, YAML::Node>;

// Walks one document. All of its functions may throw YAML::Exception.
class SimulationReader {
 public:
  explicit SimulationReader(const std::string& name) : name_(name) {}

  absl::StatusOr<SimulationOptions> Read(const YAML::Node& root) {
    ASSIGN_OR_RETURN(const Fields fields, Map(root, "the file", {"seed", "devices", "paths"}));
    if (const auto seed = fields.find("seed"); seed != fields.end()) {
      RETURN_IF_ERROR(Integer(seed->second, "seed", 0, 1e15, seed_));
    }
    const auto devices = fields.find("devices");
    if (devices == fields.end()) return Error(root, "devices: there must be at least one");
    RETURN_IF_ERROR(List(devices->second, "devices", 1, kDevicesMax));
    for (const YAML::Node& device : devices->second) RETURN_IF_ERROR(Device(device));
    if (const auto paths = fields.find("paths"); paths != fields.end()) {
      RETURN_IF_ERROR(List(paths->second, "paths", 0, kPathsMax));
      for (const YAML::Node& path : paths->second) RETURN_IF_ERROR(Path(path));
    }
    return std::move(options_);
  }

 private:
  absl::Status Error(const YAML::Node& at, std::string_view message) const {
    const int line = at.Mark().line;  // from 0; -1: not known
    return absl::InvalidArgumentError(line < 0 ? StrCat(name_, ": ", message)
                                               : StrCat(name_, ":", line + 1, ": ", message));
  }

  absl::StatusOr<Fields> Map(const YAML::Node& node, std::string_view what,
                             const std::vector<std::string>& known) const {
    if (!node.IsMap()) return Error(node, StrCat(what, " must hold keys and values"));
    Fields fields;
    for (const auto& entry : node) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        return Error(entry.first, StrCat("unknown key ", Quoted(key), "; ", what,
                                         " may have: ", absl::StrJoin(known, ", ")));
      }
      if (!fields.emplace(key, entry.second).second) {
        return Error(entry.first, StrCat(key, " is given twice"));
      }
    }
    return fields;
  }

  absl::Status List(const YAML::Node& node, std::string_view key, size_t min, size_t max) const {
    if (!node.IsSequence()) return Error(node, StrCat(key, " must be a list"));
    if (node.size() >= min && node.size() <= max) return absl::OkStatus();
    return Error(node,
                 StrCat(key, " must have ", min, " to ", max, " entries, but has ", node.size()));
  }

  absl::Status Number(const YAML::Node& node, std::string_view key, double min, double max,
                      double& value) const {
    double read = 0;
    if (!node.IsScalar() || node.Tag() == "!" || !absl::SimpleAtod(node.Scalar(), &read) ||
        !std::isfinite(read)) {
      return Error(node, StrCat(key, " must be a number"));
    }
    if (read < min || read > max) {
      return Error(node, StrCat(key, " must be ", min, " to ", max, ", but is ", node.Scalar()));
    }
    value = read;
    return absl::OkStatus();
  }

  absl::Status Integer(const YAML::Node& node, std::string_view key, double min, double max,
                       int64_t& value) const {
    double read = 0;
    RETURN_IF_ERROR(Number(node, key, min, max, read));
    if (read != std::floor(read)) {
      return Error(node, StrCat(key, " must be a whole number, but is ", node.Scalar()));
    }
    value = static_cast<int64_t>(read);
    return absl::OkStatus();
  }

  absl::Status Text(const YAML::Node& node, std::string_view key, std::string& value) const {
    if (!node.IsScalar() || node.Scalar().empty()) {
      return Error(node, StrCat(key, " must be a name"));
    }
    value = node.Scalar();
    return absl::OkStatus();
  }

  absl::Status Boolean(const YAML::Node& node, std::string_view key, bool& value) const {
    const std::string text = node.IsScalar() ? node.Scalar() : "";
    if (text != "true" && text != "false") {
      return Error(node, StrCat(key, " must be true or false"));
    }
    value = text == "true";
    return absl::OkStatus();
  }

  absl::Status Name(const YAML::Node& node, std::string_view key, std::string& name) {
    RETURN_IF_ERROR(Text(node, key, name));
    if (!IsPlainName(name) || name == "host") {
      return Error(node, StrCat(key,
                                " must be 1 to 128 characters of [A-Za-z0-9_.:-] and not "
                                "\"host\", but is ",
                                Quoted(name)));
    }
    return absl::OkStatus();
  }

  absl::Status Points(const YAML::Node& node, std::string_view key,
                      std::vector<CurvePoint>& points) const {
    RETURN_IF_ERROR(List(node, key, 1, kPointsMax));
    for (const YAML::Node& entry : node) {
      if (!entry.IsSequence() || entry.size() != 2) {
        return Error(entry, StrCat(key, ": a point must be [x, us]"));
      }
      CurvePoint point;
      RETURN_IF_ERROR(Number(entry[0], StrCat(key, ": x"), 0, 1e12, point.x));
      RETURN_IF_ERROR(Number(entry[1], StrCat(key, ": us"), 0, kUsMax, point.us));
      if (!points.empty() && point.x <= points.back().x) {
        return Error(entry,
                     StrCat(key, ": x must ascend, but ", point.x, " follows ", points.back().x));
      }
      points.push_back(point);
    }
    return absl::OkStatus();
  }

  absl::Status Curve(const YAML::Node& node, const std::string& key, CurveOptions& curve) const {
    ASSIGN_OR_RETURN(
        const Fields fields,
        Map(node, key, {"fixed_us", "per_item_us", "per_context_us", "points", "context_points"}));
    for (const auto& [name, value] : fields) {
      if (name == "fixed_us") {
        RETURN_IF_ERROR(Number(value, StrCat(key, ".fixed_us"), 0, kUsMax, curve.fixed_us));
      } else if (name == "per_item_us") {
        RETURN_IF_ERROR(Number(value, StrCat(key, ".per_item_us"), 0, kUsMax, curve.per_item_us));
      } else if (name == "per_context_us") {
        RETURN_IF_ERROR(
            Number(value, StrCat(key, ".per_context_us"), 0, kUsMax, curve.per_context_us));
      } else {
        RETURN_IF_ERROR(Points(value, StrCat(key, ".", name),
                               name == "points" ? curve.points : curve.context_points));
      }
    }
    const bool takes_time = curve.fixed_us + curve.per_item_us + curve.per_context_us > 0 ||
                            !curve.points.empty() || !curve.context_points.empty();
    if (!takes_time) return Error(node, StrCat(key, " takes no time at all"));
    return absl::OkStatus();
  }

  absl::Status Faults(const YAML::Node& node, std::vector<FaultStep>& steps) const {
    RETURN_IF_ERROR(List(node, "faults", 0, kFaultsMax));
    static const std::map<std::string, SimulatedFault> kFaults = {
        {"fail", SimulatedFault::kFail},
        {"hang", SimulatedFault::kHang},
        {"slow", SimulatedFault::kSlow},
        {"lose", SimulatedFault::kLose},
        {"recover", SimulatedFault::kRecover}};
    for (const YAML::Node& entry : node) {
      ASSIGN_OR_RETURN(const Fields fields,
                       Map(entry, "an entry of faults", {"at_s", "at_batch", "do", "factor"}));
      FaultStep step;
      for (const auto& [key, value] : fields) {
        if (key == "at_s") {
          RETURN_IF_ERROR(Number(value, "faults.at_s", 0, 1e7, step.at_s.emplace()));
        } else if (key == "at_batch") {
          RETURN_IF_ERROR(Integer(value, "faults.at_batch", 1, 1e12, step.at_batch.emplace()));
        } else if (key == "factor") {
          RETURN_IF_ERROR(Number(value, "faults.factor", 0.001, 1e6, step.factor));
        } else {
          const auto found = kFaults.find(value.IsScalar() ? value.Scalar() : "");
          if (found == kFaults.end()) {
            return Error(value, "faults.do must be fail, hang, slow, lose or recover");
          }
          step.fault = found->second;
        }
      }
      if (!fields.contains("do")) return Error(entry, "faults.do is missing");
      if (step.at_s.has_value() == step.at_batch.has_value()) {
        return Error(entry, "an entry of faults must have either at_s or at_batch");
      }
      if (fields.contains("factor") != (step.fault == SimulatedFault::kSlow)) {
        return Error(entry, "faults.factor belongs to slow, and slow needs it");
      }
      const auto same = [&](const FaultStep& other) {
        return step.at_s == other.at_s && step.at_batch == other.at_batch;
      };
      if (std::any_of(steps.begin(), steps.end(), same)) {
        return Error(entry, "two entries of faults are at the same moment");
      }
      steps.push_back(step);
    }
    return absl::OkStatus();
  }

  absl::Status Latency(const YAML::Node& node, SimulatedDeviceOptions& device) const {
    static constexpr WorkClass kClasses[] = {
        WorkClass::kPrefill, WorkClass::kDecode, WorkClass::kSearchSingle, WorkClass::kSearchBulk,
        WorkClass::kEmbed,   WorkClass::kRerank, WorkClass::kKmeans};
    std::vector<std::string> names;
    for (const WorkClass c : kClasses) names.emplace_back(baton::Name(c));
    ASSIGN_OR_RETURN(const Fields fields, Map(node, "latency", names));
    if (fields.empty()) return Error(node, "latency must name a class of work at least");
    for (const WorkClass c : kClasses) {
      const auto found = fields.find(std::string(baton::Name(c)));
      if (found == fields.end()) continue;
      RETURN_IF_ERROR(Curve(found->second, StrCat("latency.", found->first),
                            device.latency[static_cast<size_t>(c)].emplace()));
    }
    if (fields.contains("prefill") != fields.contains("decode")) {
      return Error(node,
                   "latency has prefill or decode, but not both: a device that runs a "
                   "language model must have both");
    }
    return absl::OkStatus();
  }

  absl::Status Device(const YAML::Node& node) {
    SimulatedDeviceOptions device;
    ASSIGN_OR_RETURN(
        const Fields fields,
        Map(node, "an entry of devices",
            {"name", "platform", "bank", "latency", "noise_sigma", "memory_mb", "power_idle_w",
             "power_max_w", "queue_batches", "search_lanes", "exclusive", "faults"}));
    for (const char* key : {"name", "platform", "latency"}) {
      if (!fields.contains(key)) return Error(node, StrCat("devices.", key, " is missing"));
    }
    int64_t bank = 0;
    int64_t memory_mb = 0;
    int64_t lanes = 1;
    for (const auto& [key, value] : fields) {
      const std::string full = StrCat("devices.", key);
      if (key == "name") {
        RETURN_IF_ERROR(Name(value, full, device.name));
      } else if (key == "platform") {
        std::string platform;
        RETURN_IF_ERROR(Text(value, full, platform));
        if (!Parse(platform, &device.platform)) {
          return Error(value, StrCat(full, " must be cpu, gpu or fpga, but is ", Quoted(platform)));
        }
      } else if (key == "bank") {
        RETURN_IF_ERROR(Integer(value, full, 0, 255, bank));
      } else if (key == "latency") {
        RETURN_IF_ERROR(Latency(value, device));
      } else if (key == "noise_sigma") {
        RETURN_IF_ERROR(Number(value, full, 0, 3, device.noise_sigma));
      } else if (key == "memory_mb") {
        RETURN_IF_ERROR(Integer(value, full, 1, 1e9, memory_mb));
      } else if (key == "power_idle_w") {
        RETURN_IF_ERROR(Number(value, full, 0, 1e5, device.power_idle_w));
      } else if (key == "power_max_w") {
        RETURN_IF_ERROR(Number(value, full, 0, 1e5, device.power_max_w));
      } else if (key == "queue_batches") {
        RETURN_IF_ERROR(Integer(value, full, 1, 1e6, device.queue_batches));
      } else if (key == "search_lanes") {
        RETURN_IF_ERROR(Integer(value, full, 1, 1024, lanes));
      } else if (key == "exclusive") {
        RETURN_IF_ERROR(Boolean(value, full, device.exclusive));
      } else {
        RETURN_IF_ERROR(Faults(value, device.faults));
      }
    }
    device.memory_bytes = memory_mb << 20;
    device.search_lanes = static_cast<int32_t>(lanes);
    return AddDevice(node, fields, static_cast<int32_t>(bank), std::move(device));
  }

  // What entries say of each other.
  absl::Status AddDevice(const YAML::Node& node, const Fields& fields, int32_t bank,
                         SimulatedDeviceOptions device) {
    if (device.power_idle_w > device.power_max_w) {
      return Error(node, StrCat("devices.power_idle_w is ", device.power_idle_w,
                                ", but power_max_w ", device.power_max_w));
    }
    if (device.exclusive && device.search_lanes > 1) {
      return Error(node, "devices.exclusive and search_lanes above 1 contradict each other");
    }
    if (fields.contains("bank") && device.platform != Platform::kFpga) {
      return Error(fields.at("bank"), "devices.bank belongs to an fpga");
    }
    int32_t before = 0;  // of the same platform
    for (const SimulatedDeviceOptions& other : options_.devices) {
      if (other.name == device.name) {
        return Error(node, StrCat("devices.name ", Quoted(device.name), " is given twice"));
      }
      before += other.platform == device.platform ? 1 : 0;
    }
    switch (device.platform) {
      case Platform::kCpu:
        if (before > 0) return Error(node, "devices: there is one cpu at most");
        break;
      case Platform::kGpu:
        device.space = {.kind = MemorySpace::Kind::kCuda, .device = before};
        break;
      case Platform::kFpga:
        device.space = {.kind = MemorySpace::Kind::kFpga, .device = before, .bank = bank};
        break;
    }
    device.seed = static_cast<uint64_t>(seed_) * kDevicesMax + options_.devices.size();
    options_.devices.push_back(std::move(device));
    return absl::OkStatus();
  }

  absl::Status End(const YAML::Node& node, std::string_view key, MemorySpace& space) const {
    std::string name;
    RETURN_IF_ERROR(Text(node, key, name));
    space = kHostSpace;
    if (name == "host") return absl::OkStatus();
    for (const SimulatedDeviceOptions& device : options_.devices) {
      if (device.name != name) continue;
      space = device.space;
      return absl::OkStatus();
    }
    return Error(node, StrCat(key, " must be host or the name of a device, but is ", Quoted(name)));
  }

  absl::Status Path(const YAML::Node& node) {
    ASSIGN_OR_RETURN(const Fields fields,
                     Map(node, "an entry of paths",
                         {"name", "from", "to", "gb_per_s", "latency_us", "both_ways", "faults"}));
    for (const char* key : {"name", "from", "to", "gb_per_s"}) {
      if (!fields.contains(key)) return Error(node, StrCat("paths.", key, " is missing"));
    }
    SimulatedPathOptions path;
    bool both_ways = true;
    RETURN_IF_ERROR(Name(fields.at("name"), "paths.name", path.name));
    RETURN_IF_ERROR(End(fields.at("from"), "paths.from", path.from));
    RETURN_IF_ERROR(End(fields.at("to"), "paths.to", path.to));
    RETURN_IF_ERROR(Number(fields.at("gb_per_s"), "paths.gb_per_s", 1e-6, 1e6, path.gb_per_s));
    for (const auto& [key, value] : fields) {
      if (key == "latency_us") {
        RETURN_IF_ERROR(Number(value, "paths.latency_us", 0, kUsMax, path.latency_us));
      } else if (key == "both_ways") {
        RETURN_IF_ERROR(Boolean(value, "paths.both_ways", both_ways));
      } else if (key == "faults") {
        RETURN_IF_ERROR(Faults(value, path.faults));
      }
    }
    if (path.from == path.to) {
      return Error(node, StrCat("paths: from and to of ", Quoted(path.name), " are one memory, ",
                                ToString(path.from)));
    }
    RETURN_IF_ERROR(AddPath(node, path));
    if (!both_ways) return absl::OkStatus();
    std::swap(path.from, path.to);
    path.name += "-back";
    return AddPath(node, std::move(path));
  }

  absl::Status AddPath(const YAML::Node& node, SimulatedPathOptions path) {
    const auto taken = [&](const auto& other) { return other.name == path.name; };
    if (std::any_of(options_.paths.begin(), options_.paths.end(), taken) ||
        std::any_of(options_.devices.begin(), options_.devices.end(), taken)) {
      return Error(node, StrCat("paths.name ", Quoted(path.name), " is given twice"));
    }
    const auto same = [&](const SimulatedPathOptions& other) {
      return other.from == path.from && other.to == path.to;
    };
    if (std::any_of(options_.paths.begin(), options_.paths.end(), same)) {
      return Error(node, StrCat("paths: there are two from ", ToString(path.from), " to ",
                                ToString(path.to)));
    }
    options_.paths.push_back(std::move(path));
    return absl::OkStatus();
  }

  const std::string& name_;
  SimulationOptions options_;
  int64_t seed_ = 1;
};

}  // namespace

absl::StatusOr<SimulationOptions> ParseSimulation(std::string_view text, const std::string& name) {
  // Where yaml-cpp's exceptions end.
  try {
    const int documents = CountYamlDocuments(std::string(text));
    if (documents != 1) {
      return absl::InvalidArgumentError(StrCat(name, ": must hold one YAML document, but holds ",
                                               documents == 0 ? "none" : "more"));
    }
    return SimulationReader(name).Read(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        StrCat(name, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

absl::StatusOr<SimulationOptions> ReadSimulation(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadTextFile(path, "simulation file"));
  return ParseSimulation(text, path);
}

}  // namespace baton
