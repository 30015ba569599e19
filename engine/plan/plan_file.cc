#include "engine/plan/plan_file.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/options.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_documents.h"
#include "yaml-cpp/yaml.h"

namespace baton::plan {
namespace {

constexpr size_t kEntriesMax = 64;  // of a list
constexpr size_t kPointsMax = 256;  // of a curve
constexpr double kHoursPerYear = 8766;

std::optional<WorkClass> ClassOf(std::string_view name) {
  for (int i = 0; i < kWorkClassCount; ++i) {
    const auto work_class = static_cast<WorkClass>(i);
    if (Name(work_class) == name) return work_class;
  }
  return std::nullopt;
}

std::string ClassNames() {
  std::string names;
  for (int i = 0; i < kWorkClassCount; ++i) {
    if (i > 0) names += ", ";
    names += Name(static_cast<WorkClass>(i));
  }
  return names;
}

// Reads one document. Its functions may throw YAML::Exception.
class PlanReader {
 public:
  explicit PlanReader(const std::string& name) : name_(name) {}

  absl::Status Error(const YAML::Node& at, std::string_view message) const {
    const int line = at.Mark().line;  // from 0; -1: not known
    return absl::InvalidArgumentError(line < 0 ? StrCat(name_, ": ", message)
                                               : StrCat(name_, ":", line + 1, ": ", message));
  }

  // One key of a map, what it must be, and where it goes.
  struct Key {
    std::string name;
    std::function<absl::Status(const YAML::Node& value, const std::string& path)> read;
    bool required = false;
  };

  absl::Status ReadMap(const YAML::Node& map, const std::string& path,
                       const std::vector<Key>& keys) const {
    if (!map.IsMap()) {
      return Error(map, StrCat(path.empty() ? "the file" : path, " must be a map of keys"));
    }
    std::set<std::string> seen;
    for (const auto& entry : map) {
      if (!entry.first.IsScalar()) return Error(entry.first, "a key must be a plain name");
      const std::string& name = entry.first.Scalar();
      const std::string key_path = path.empty() ? name : StrCat(path, ".", name);
      const auto key = std::find_if(keys.begin(), keys.end(),
                                    [&](const Key& known) { return known.name == name; });
      if (key == keys.end()) {
        std::string known;
        for (const Key& other : keys) known += (known.empty() ? "" : ", ") + other.name;
        return Error(entry.first,
                     StrCat("unknown key \"", Escaped(key_path), "\"; keys there are: ", known));
      }
      if (!seen.insert(name).second) {
        return Error(entry.first, StrCat(key_path, " is given twice"));
      }
      RETURN_IF_ERROR(key->read(entry.second, key_path));
    }
    for (const Key& key : keys) {
      if (key.required && seen.count(key.name) == 0) {
        return Error(map,
                     StrCat(path.empty() ? key.name : StrCat(path, ".", key.name), " is missing"));
      }
    }
    return absl::OkStatus();
  }

  absl::Status ReadList(const YAML::Node& list, const std::string& path, size_t entries_max,
                        const std::function<absl::Status(const YAML::Node& entry,
                                                         const std::string& path)>& read) const {
    if (!list.IsSequence() || list.size() == 0 || list.size() > entries_max) {
      return Error(list, StrCat(path, " must be a list of 1 to ", entries_max, " entries"));
    }
    size_t index = 0;
    for (const YAML::Node& entry : list)
      RETURN_IF_ERROR(read(entry, StrCat(path, "[", index++, "]")));
    return absl::OkStatus();
  }

  absl::Status ReadNumber(const YAML::Node& value, const std::string& path, Range range, bool whole,
                          double& number) const {
    const std::string wanted = StrCat(path, " must be ", whole ? "an integer" : "a number", ", ",
                                      range.min, " to ", range.max, ", but ");
    if (!value.IsScalar()) return Error(value, StrCat(wanted, "is none"));
    const std::string& text = value.Scalar();
    double read = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), read);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(read) ||
        (whole && read != std::floor(read)) || value.Tag() == "!") {
      return Error(value, StrCat(wanted, "is \"", Escaped(text), "\""));
    }
    if (read < range.min || read > range.max) return Error(value, StrCat(wanted, "is ", text));
    number = read;
    return absl::OkStatus();
  }

  absl::Status ReadName(const YAML::Node& value, const std::string& path, std::string& name) const {
    if (!value.IsScalar() || !IsPlainName(value.Scalar())) {
      return Error(value, StrCat(path,
                                 " must be a name of 1 to 128 characters of "
                                 "[A-Za-z0-9_.:-]"));
    }
    name = value.Scalar();
    return absl::OkStatus();
  }

  absl::Status ReadClass(const YAML::Node& value, const std::string& path,
                         WorkClass& work_class) const {
    const auto found = value.IsScalar() ? ClassOf(value.Scalar()) : std::nullopt;
    if (!found) return Error(value, StrCat(path, " must be one of: ", ClassNames()));
    work_class = *found;
    return absl::OkStatus();
  }

  // Keys of the kinds there are.
  Key Number(const std::string& name, double& field, Range range, bool required = false) const {
    return {name,
            [this, &field, range](const YAML::Node& value, const std::string& path) {
              return ReadNumber(value, path, range, false, field);
            },
            required};
  }
  Key Integer(const std::string& name, int64_t& field, Range range) const {
    return {name, [this, &field, range](const YAML::Node& value, const std::string& path) {
              double number = 0;
              RETURN_IF_ERROR(ReadNumber(value, path, range, true, number));
              field = static_cast<int64_t>(number);
              return absl::OkStatus();
            }};
  }
  Key PlainName(const std::string& name, std::string& field, bool required) const {
    return {name,
            [this, &field](const YAML::Node& value, const std::string& path) {
              return ReadName(value, path, field);
            },
            required};
  }
  Key Class(WorkClass& field) const {
    return {"class",
            [this, &field](const YAML::Node& value, const std::string& path) {
              return ReadClass(value, path, field);
            },
            true};
  }

 private:
  const std::string& name_;
};

// ---- Workloads

absl::Status ReadStage(const PlanReader& reader, const YAML::Node& node, const std::string& path,
                       Stage& stage) {
  RETURN_IF_ERROR(
      reader.ReadMap(node, path,
                     {reader.Class(stage.work_class), reader.Number("items", stage.items, {1, 1e9}),
                      reader.Number("input_mb", stage.input_mb, {0, 1e9})}));
  if (stage.work_class == WorkClass::kDecode && stage.items != std::floor(stage.items)) {
    return reader.Error(node, StrCat(path, ".items must be an integer, the tokens of a decode"));
  }
  return absl::OkStatus();
}

absl::Status ReadRequest(const PlanReader& reader, const YAML::Node& node, const std::string& path,
                         Request& request) {
  return reader.ReadMap(node, path,
                        {reader.PlainName("name", request.name, true),
                         reader.Number("per_second", request.per_second, {1e-9, 1e9}, true),
                         reader.Number("sla_ms", request.sla_ms, {0, 1e9}),
                         reader.Number("sla_quantile", request.sla_quantile, {0.01, 0.9999}),
                         {"stages",
                          [&](const YAML::Node& list, const std::string& list_path) {
                            return reader.ReadList(
                                list, list_path, kEntriesMax,
                                [&](const YAML::Node& entry, const std::string& entry_path) {
                                  return ReadStage(reader, entry, entry_path,
                                                   request.stages.emplace_back());
                                });
                          },
                          true}});
}

absl::Status ReadWorkload(const PlanReader& reader, const YAML::Node& root, Workload& workload) {
  // Keys that are names of work classes.
  const auto by_class =
      [&](std::function<absl::Status(WorkClass, const YAML::Node&, const std::string&)> read) {
        std::vector<PlanReader::Key> keys;
        for (int i = 0; i < kWorkClassCount; ++i) {
          const auto work_class = static_cast<WorkClass>(i);
          keys.push_back({std::string(Name(work_class)),
                          [read, work_class](const YAML::Node& value, const std::string& path) {
                            return read(work_class, value, path);
                          }});
        }
        return keys;
      };
  const auto batching = by_class(
      [&](WorkClass work_class, const YAML::Node& node, const std::string& path) -> absl::Status {
        if (work_class == WorkClass::kDecode) {
          return reader.Error(node, StrCat(path, ": decodes share steps and are not collected"));
        }
        BatchLimits& limits = workload.batching[static_cast<size_t>(work_class)];
        return reader.ReadMap(node, path,
                              {reader.Integer("requests_max", limits.requests_max, {1, 4096}),
                               reader.Number("wait_ms", limits.wait_ms, {0, 60000})});
      });
  const auto placement =
      by_class([&](WorkClass work_class, const YAML::Node& node, const std::string& path) {
        return reader.ReadName(node, path, workload.placement[static_cast<size_t>(work_class)]);
      });
  std::set<std::string> names;
  return reader.ReadMap(
      root, "",
      {{"requests",
        [&](const YAML::Node& list, const std::string& path) {
          return reader.ReadList(
              list, path, kEntriesMax, [&](const YAML::Node& node, const std::string& entry) {
                Request& request = workload.requests.emplace_back();
                RETURN_IF_ERROR(ReadRequest(reader, node, entry, request));
                if (names.insert(request.name).second) return absl::OkStatus();
                return reader.Error(node,
                                    StrCat(entry, ".name \"", request.name, "\" is given twice"));
              });
        },
        true},
       {"batching", [&](const YAML::Node& map,
                        const std::string& path) { return reader.ReadMap(map, path, batching); }},
       {"placement", [&](const YAML::Node& map, const std::string& path) {
          return reader.ReadMap(map, path, placement);
        }}});
}

// ---- Fleets

absl::Status ReadCurve(const PlanReader& reader, const YAML::Node& node, const std::string& path,
                       ServiceCurve& curve) {
  double variation = 0;
  const absl::Status read = reader.ReadMap(
      node, path,
      {reader.Class(curve.work_class),
       reader.Number("variation", variation, {0, 10}),
       {"points",
        [&](const YAML::Node& list, const std::string& list_path) {
          return reader.ReadList(
              list, list_path, kPointsMax,
              [&](const YAML::Node& entry, const std::string& point_path) {
                CurvePoint point;
                RETURN_IF_ERROR(
                    reader.ReadMap(entry, point_path,
                                   {reader.Number("items", point.items, {1, 1e9}, true),
                                    reader.Number("ms", point.run_ms, {1e-6, 1e9}, true)}));
                if (!curve.points.empty() && point.items <= curve.points.back().items) {
                  return reader.Error(entry, StrCat(point_path, ".items must be more than the ",
                                                    curve.points.back().items, " before it"));
                }
                curve.points.push_back(point);
                return absl::OkStatus();
              });
        },
        true}});
  RETURN_IF_ERROR(read);
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

absl::Status ReadDevice(const PlanReader& reader, const YAML::Node& node, const std::string& path,
                        Device& device) {
  double price = 0;
  double years = 0;
  const absl::Status read = reader
                                .ReadMap(
                                    node, path,
                                    {reader.PlainName("name", device.name, true),
                                     {"platform",
                                      [&](const YAML::Node& value, const std::string& key_path) {
                                        if (value.IsScalar() &&
                                            Parse(value.Scalar(), &device.platform))
                                          return absl::OkStatus();
                                        return reader.Error(
                                            value,
                                            StrCat(key_path, " must be one of: cpu, gpu, fpga"));
                                      },
                                      true},
                                     {"evidence",
                                      [&](const YAML::Node& value, const std::string& key_path) {
                                        for (const Evidence evidence :
                                             {Evidence::kMeasured, Evidence::kStated,
                                              Evidence::kModelled}) {
                                          if (!value.IsScalar() || value.Scalar() != Name(evidence))
                                            continue;
                                          device.evidence = evidence;
                                          return absl::OkStatus();
                                        }
                                        return reader.Error(
                                            value,
                                            StrCat(key_path,
                                                   " must be one of: measured, stated, modelled"));
                                      },
                                      true},
                                     reader.Integer("count", device.count, {1, 4096}),
                                     reader.Integer("lanes", device.lanes, {1, 1024}),
                                     reader.Number("idle_w", device.idle_w, {0, 1e6}, true),
                                     reader.Number("max_w", device.max_w, {0, 1e6}, true),
                                     reader.Number("price", price, {0, 1e9}),
                                     reader.Number("lifetime_years", years, {0.01, 100}),
                                     reader.Number("cost_per_hour", device.cost_per_hour, {0, 1e6}),
                                     reader.Number("link_gb_per_s",
                                                   device.link_gb_per_s, {1e-6, 1e6}),
                                     {"curves",
                                      [&](const YAML::Node& list, const std::string& list_path) {
                                        return reader.ReadList(
                                            list, list_path, kWorkClassCount,
                                            [&](const YAML::Node& entry,
                                                const std::string& entry_path) {
                                              ServiceCurve curve;
                                              RETURN_IF_ERROR(
                                                  ReadCurve(reader, entry, entry_path, curve));
                                              if (device.CurveOf(curve.work_class) != nullptr) {
                                                return reader.Error(entry,
                                                                    StrCat(entry_path, ".class ",
                                                                           Name(curve.work_class),
                                                                           " is given twice"));
                                              }
                                              device.curves.push_back(std::move(curve));
                                              return absl::OkStatus();
                                            });
                                      },
                                      true}});
  RETURN_IF_ERROR(read);
  if (device.max_w < device.idle_w) {
    return reader.Error(node, StrCat(path, ".max_w must be at least idle_w, ", device.idle_w,
                                     ", but is ", device.max_w));
  }
  if ((price > 0) != (years > 0)) {
    return reader.Error(node, StrCat(path, ": price and lifetime_years need each other"));
  }
  if (price > 0) device.cost_per_hour += price / (years * kHoursPerYear);
  return absl::OkStatus();
}

absl::Status ReadFleet(const PlanReader& reader, const YAML::Node& root, Fleet& fleet) {
  std::set<std::string> names;
  return reader.ReadMap(
      root, "",
      {reader.PlainName("currency", fleet.currency, false),
       reader.Number("price_per_kwh", fleet.price_per_kwh, {0, 1000}),
       reader.Number("host_w", fleet.host_w, {0, 1e6}),
       reader.Number("host_cost_per_hour", fleet.host_cost_per_hour, {0, 1e6}),
       {"devices",
        [&](const YAML::Node& list, const std::string& path) {
          return reader.ReadList(
              list, path, kEntriesMax, [&](const YAML::Node& node, const std::string& entry) {
                Device& device = fleet.devices.emplace_back();
                RETURN_IF_ERROR(ReadDevice(reader, node, entry, device));
                if (names.insert(device.name).second) return absl::OkStatus();
                return reader.Error(node,
                                    StrCat(entry, ".name \"", device.name, "\" is given twice"));
              });
        },
        true}});
}

template <class Input, class Read>
absl::StatusOr<Input> ParseDocument(std::string_view text, const std::string& name, Read read) {
  if (text.size() > kPlanFileBytesMax) {
    return absl::InvalidArgumentError(
        StrCat(name, " is longer than ", kPlanFileBytesMax, " bytes"));
  }
  // Where yaml-cpp's exceptions end.
  try {
    const int documents = CountYamlDocuments(std::string(text));
    if (documents != 1) {
      return absl::InvalidArgumentError(
          StrCat(name, " must be one YAML document, but holds ", documents == 0 ? "none" : "more"));
    }
    Input input;
    RETURN_IF_ERROR(read(PlanReader(name), YAML::Load(std::string(text)), input));
    return input;
  } catch (const YAML::Exception& error) {
    return absl::InvalidArgumentError(
        StrCat(name, ":", error.mark.line + 1, ": not valid YAML: ", error.msg));
  }
}

}  // namespace

absl::StatusOr<Workload> ParseWorkload(std::string_view text, const std::string& name) {
  return ParseDocument<Workload>(text, name, ReadWorkload);
}

absl::StatusOr<Fleet> ParseFleet(std::string_view text, const std::string& name) {
  return ParseDocument<Fleet>(text, name, ReadFleet);
}

}  // namespace baton::plan
