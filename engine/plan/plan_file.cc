#include "engine/plan/plan_file.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_reader.h"
#include "engine/plan/card_model.h"

namespace baton::plan {
namespace {

constexpr Range kEntries = {1, 64};  // of a list
constexpr Range kPoints = {1, 256};  // of a curve
constexpr double kHoursPerYear = 8766;

std::vector<WorkClass> AllClasses() {
  std::vector<WorkClass> classes;
  for (int i = 0; i < kWorkClassCount; ++i) classes.push_back(static_cast<WorkClass>(i));
  return classes;
}

// ---- Workloads

absl::Status ReadStage(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       Stage& stage) {
  RETURN_IF_ERROR(reader.ReadMap(node, path,
                                 {reader.Choice("class", stage.work_class, AllClasses()),
                                  reader.Number("items", stage.items, {1, 1e9}),
                                  reader.Number("input_mb", stage.input_mb, {0, 1e9})}));
  if (stage.work_class == WorkClass::kDecode && stage.items != std::floor(stage.items)) {
    return reader.Error(node, StrCat(path, ".items must be an integer, the tokens of a decode"));
  }
  return absl::OkStatus();
}

absl::Status ReadRequest(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                         Request& request) {
  const auto read_stage = [&](const YAML::Node& entry, const std::string& entry_path) {
    return ReadStage(reader, entry, entry_path, request.stages.emplace_back());
  };
  return reader.ReadMap(node, path,
                        {reader.PlainName("name", request.name, true),
                         reader.Number("per_second", request.per_second, {1e-9, 1e9}, true),
                         reader.Number("sla_ms", request.sla_ms, {0, 1e9}),
                         reader.Number("sla_quantile", request.sla_quantile, {0.01, 0.9999}),
                         reader.List("stages", kEntries, read_stage, true)});
}

// A map whose keys are names of work classes.
YamlReader::Key ByClass(
    const YamlReader& reader, std::string name,
    std::function<absl::Status(WorkClass, const YAML::Node&, const std::string&)> read) {
  std::vector<YamlReader::Key> keys;
  for (const WorkClass work_class : AllClasses()) {
    keys.push_back({std::string(Name(work_class)),
                    [read, work_class](const YAML::Node& value, const std::string& path) {
                      return read(work_class, value, path);
                    }});
  }
  return {std::move(name),
          [&reader, keys = std::move(keys)](const YAML::Node& map, const std::string& path) {
            return reader.ReadMap(map, path, keys);
          }};
}

absl::Status ReadWorkload(const YamlReader& reader, const YAML::Node& root, Workload& workload) {
  std::set<std::string> names;
  const auto read_request = [&](const YAML::Node& node, const std::string& path) -> absl::Status {
    Request& request = workload.requests.emplace_back();
    RETURN_IF_ERROR(ReadRequest(reader, node, path, request));
    if (names.insert(request.name).second) return absl::OkStatus();
    return reader.Error(node, StrCat(path, ".name \"", request.name, "\" is given twice"));
  };
  const auto read_batching = [&](WorkClass work_class, const YAML::Node& node,
                                 const std::string& path) -> absl::Status {
    if (work_class == WorkClass::kDecode) {
      return reader.Error(node, StrCat(path, ": decodes share steps and are not collected"));
    }
    BatchLimits& limits = workload.batching[static_cast<size_t>(work_class)];
    return reader.ReadMap(node, path,
                          {reader.Integer("requests_max", limits.requests_max, {1, 4096}),
                           reader.Number("wait_ms", limits.wait_ms, {0, 60000})});
  };
  const auto read_placement = [&](WorkClass work_class, const YAML::Node& node,
                                  const std::string& path) {
    return reader.ReadName(node, path, workload.placement[static_cast<size_t>(work_class)]);
  };
  return reader.ReadMap(
      root, "",
      {reader.List("requests", kEntries, read_request, true),
       ByClass(reader, "batching", read_batching), ByClass(reader, "placement", read_placement)});
}

// ---- Fleets

absl::Status ReadCurve(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       ServiceCurve& curve) {
  double variation = 0;
  const auto read_point = [&](const YAML::Node& entry,
                              const std::string& point_path) -> absl::Status {
    CurvePoint point;
    RETURN_IF_ERROR(reader.ReadMap(entry, point_path,
                                   {reader.Number("items", point.items, {1, 1e9}, true),
                                    reader.Number("ms", point.run_ms, {1e-6, 1e9}, true)}));
    if (!curve.points.empty() && point.items <= curve.points.back().items) {
      return reader.Error(entry, StrCat(point_path, ".items must be more than the ",
                                        curve.points.back().items, " before it"));
    }
    curve.points.push_back(point);
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(reader.ReadMap(node, path,
                                 {reader.Choice("class", curve.work_class, AllClasses()),
                                  reader.Number("variation", variation, {0, 10}),
                                  reader.List("points", kPoints, read_point, true)}));
  curve.run_scv = variation * variation;
  if (curve.work_class != WorkClass::kDecode) return absl::OkStatus();
  if (curve.items_max() <= 4096 && curve.items_max() == std::floor(curve.items_max())) {
    return absl::OkStatus();
  }
  return reader.Error(node, StrCat(path,
                                   ".points: a decode's last items, the sequences of its "
                                   "largest step, must be an integer, 1 to 4096, but is ",
                                   curve.items_max()));
}

YamlReader::Key Required(YamlReader::Key key) {
  key.required = true;
  return key;
}

absl::Status ReadModel(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       fpga::DecoderSize& model) {
  RETURN_IF_ERROR(
      reader.ReadMap(node, path,
                     {Required(reader.Integer("layers", model.layers, {1, 1024})),
                      Required(reader.Integer("dim", model.dim, {1, 1 << 20})),
                      Required(reader.Integer("ffn_dim", model.ffn_dim, {1, 1 << 20})),
                      Required(reader.Integer("heads", model.heads, {1, 4096})),
                      Required(reader.Integer("kv_heads", model.kv_heads, {1, 4096})),
                      Required(reader.Integer("head_dim", model.head_dim, {1, 4096})),
                      Required(reader.Integer("vocabulary", model.vocabulary, {1, 1 << 24}))}));
  if (model.heads % model.kv_heads == 0) return absl::OkStatus();
  return reader.Error(node, StrCat(path, ".heads must be a multiple of kv_heads, ", model.kv_heads,
                                   ", but is ", model.heads));
}

absl::Status ReadCollection(const YamlReader& reader, const YAML::Node& node,
                            const std::string& path, fpga::GraphSize& graph) {
  std::optional<int64_t> codes;
  RETURN_IF_ERROR(reader.ReadMap(
      node, path,
      {Required(reader.Integer("vectors", graph.vectors, {1, 1e9})),
       Required(reader.Integer("dimension", graph.dimension, {1, 65536})),
       reader.Integer("degree", graph.degree, {2, static_cast<double>(fpga::kGraphLinksMax)}),
       reader.Integer("ef", graph.ef, {1, static_cast<double>(fpga::kGraphEfMax)}),
       reader.Integer("codes_per_query", codes, {1, 1e9})}));
  // As if each link of each node that is followed led to one that was not met before.
  graph.codes_per_query = codes.value_or(std::min(graph.vectors, graph.ef * graph.degree));
  return absl::OkStatus();
}

absl::Status ReadCard(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                      CardUse& use) {
  std::string name;
  RETURN_IF_ERROR(reader.ReadMap(
      node, path,
      {reader.PlainName("name", name, true),
       reader.Number("clock_mhz", use.clock_mhz, {50, 1000}),
       reader.Number("run_us", use.run_us, {0, 1e6}),
       reader.Integer("positions", use.positions, {0, fpga::kDecodePositionsMax - 1}),
       reader.Integer("sequences", use.sequences, {1, 4096}),
       {"model",
        [&](const YAML::Node& map, const std::string& at) {
          return ReadModel(reader, map, at, use.model.emplace());
        }},
       {"collection", [&](const YAML::Node& map, const std::string& at) {
          return ReadCollection(reader, map, at, use.collection.emplace());
        }}}));
  use.card = FindFpgaCard(name);
  if (use.card == nullptr) {
    return reader.Error(node,
                        StrCat(path, ".name must be one of: ", FpgaCardNames(), ", but is ", name));
  }
  if (use.clock_mhz > use.card->clock_mhz) {
    return reader.Error(node, StrCat(path, ".clock_mhz must be at most ", use.card->clock_mhz,
                                     ", but is ", use.clock_mhz));
  }
  if (use.model || use.collection) return absl::OkStatus();
  return reader.Error(node, StrCat(path, ": model or collection is missing"));
}

// Curves and evidence that a card's model gives are not the file's to state.
absl::Status ModelDevice(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                         const CardUse& use, Device& device) {
  if (device.platform != Platform::kFpga) {
    return reader.Error(node, StrCat(path, ".platform must be fpga where there is a card"));
  }
  if (device.lanes != 1) {
    return reader.Error(
        node, StrCat(path, ".lanes must be 1 where there is a card, but is ", device.lanes));
  }
  if (device.evidence != Evidence::kModelled) {
    return reader.Error(node, StrCat(path, ".evidence must be modelled where there is a card"));
  }
  device.card = ModelCard(use);
  for (ServiceCurve& curve : CurvesOf(*device.card, use)) {
    if (device.CurveOf(curve.work_class) != nullptr) {
      return reader.Error(node, StrCat(path, ".curves: ", Name(curve.work_class),
                                       " is modelled of the card already"));
    }
    device.curves.push_back(std::move(curve));
  }
  return absl::OkStatus();
}

absl::Status ReadDevice(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                        Device& device) {
  double price = 0;
  double years = 0;
  const auto read_curve = [&](const YAML::Node& entry,
                              const std::string& curve_path) -> absl::Status {
    ServiceCurve curve;
    RETURN_IF_ERROR(ReadCurve(reader, entry, curve_path, curve));
    if (device.CurveOf(curve.work_class) != nullptr) {
      return reader.Error(entry,
                          StrCat(curve_path, ".class ", Name(curve.work_class), " is given twice"));
    }
    device.curves.push_back(std::move(curve));
    return absl::OkStatus();
  };
  std::optional<CardUse> card;
  const auto read_card = [&](const YAML::Node& map, const std::string& card_path) {
    return ReadCard(reader, map, card_path, card.emplace());
  };
  const std::vector<Platform> platforms = {Platform::kCpu, Platform::kGpu, Platform::kFpga};
  const std::vector<Evidence> evidences = {Evidence::kMeasured, Evidence::kStated,
                                           Evidence::kModelled};
  RETURN_IF_ERROR(reader.ReadMap(node, path,
                                 {reader.PlainName("name", device.name, true),
                                  reader.Choice("platform", device.platform, platforms),
                                  reader.Choice("evidence", device.evidence, evidences),
                                  reader.Integer("count", device.count, {1, 4096}),
                                  reader.Integer("lanes", device.lanes, {1, 1024}),
                                  reader.Number("idle_w", device.idle_w, {0, 1e6}, true),
                                  reader.Number("max_w", device.max_w, {0, 1e6}, true),
                                  reader.Number("price", price, {0, 1e9}),
                                  reader.Number("lifetime_years", years, {0.01, 100}),
                                  reader.Number("cost_per_hour", device.cost_per_hour, {0, 1e6}),
                                  reader.Number("link_gb_per_s", device.link_gb_per_s, {1e-6, 1e6}),
                                  {"card", read_card},
                                  reader.List("curves", {1, kWorkClassCount}, read_curve, false)}));
  if (device.max_w < device.idle_w) {
    return reader.Error(node, StrCat(path, ".max_w must be at least idle_w, ", device.idle_w,
                                     ", but is ", device.max_w));
  }
  if ((price > 0) != (years > 0)) {
    return reader.Error(node, StrCat(path, ": price and lifetime_years need each other"));
  }
  if (price > 0) device.cost_per_hour += price / (years * kHoursPerYear);
  if (card) return ModelDevice(reader, node, path, *card, device);
  if (device.curves.empty()) return reader.Error(node, StrCat(path, ".curves is missing"));
  return absl::OkStatus();
}

absl::Status ReadFleet(const YamlReader& reader, const YAML::Node& root, Fleet& fleet) {
  std::set<std::string> names;
  const auto read_device = [&](const YAML::Node& node, const std::string& path) -> absl::Status {
    Device& device = fleet.devices.emplace_back();
    RETURN_IF_ERROR(ReadDevice(reader, node, path, device));
    if (names.insert(device.name).second) return absl::OkStatus();
    return reader.Error(node, StrCat(path, ".name \"", device.name, "\" is given twice"));
  };
  return reader.ReadMap(root, "",
                        {reader.PlainName("currency", fleet.currency, false),
                         reader.Number("price_per_kwh", fleet.price_per_kwh, {0, 1000}),
                         reader.Number("host_w", fleet.host_w, {0, 1e6}),
                         reader.Number("host_cost_per_hour", fleet.host_cost_per_hour, {0, 1e6}),
                         reader.List("devices", kEntries, read_device, true)});
}

template <class Input>
absl::StatusOr<Input> ParseDocument(std::string_view text, const std::string& name,
                                    absl::Status (*read)(const YamlReader&, const YAML::Node&,
                                                         Input&)) {
  if (text.size() > kPlanFileBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(name, " is longer than ", kPlanFileBytesMax, " bytes"));
  }
  Input input;
  RETURN_IF_ERROR(ReadYamlDocument(
      std::string(text), name,
      [&](const YamlReader& reader, const YAML::Node& root) { return read(reader, root, input); }));
  return input;
}

}  // namespace

absl::StatusOr<Workload> ParseWorkload(std::string_view text, const std::string& name) {
  return ParseDocument<Workload>(text, name, ReadWorkload);
}

absl::StatusOr<Fleet> ParseFleet(std::string_view text, const std::string& name) {
  return ParseDocument<Fleet>(text, name, ReadFleet);
}

}  // namespace baton::plan
