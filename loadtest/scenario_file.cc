#include "loadtest/scenario_file.h"

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/base/yaml_reader.h"

namespace baton::load {

std::string_view Name(Kind kind) {
  static constexpr std::string_view kNames[] = {"ask",    "generate",    "chat",
                                                "search", "search_bulk", "upsert"};
  return kNames[static_cast<size_t>(kind)];
}

std::string_view Name(Api api) {
  static constexpr std::string_view kNames[] = {"baton", "openai", "qdrant"};
  return kNames[static_cast<size_t>(api)];
}

std::string_view Name(Process process) {
  static constexpr std::string_view kNames[] = {"closed", "constant", "poisson",
                                                "gamma",  "ramp",     "trace"};
  return kNames[static_cast<size_t>(process)];
}

namespace {

constexpr size_t kFileBytesMax = 1 << 20;
constexpr Range kRate = {0.001, 1e6};
constexpr Range kSeconds = {0.001, 86'400};
constexpr Range kMilliseconds = {1, 3'600'000};
constexpr Range kShare = {0, 1};

// Any text of at most so many bytes.
YamlReader::Key Text(const YamlReader& reader, std::string name, std::string& field,
                     size_t bytes_max) {
  return {std::move(name),
          [&reader, &field, bytes_max](const YAML::Node& value,
                                       const std::string& path) -> absl::Status {
            if (!value.IsScalar() || value.Scalar().empty() || value.Scalar().size() > bytes_max) {
              return reader.Error(value,
                                  StrCat(path, " must be a text of 1 to ", bytes_max, " bytes"));
            }
            field = value.Scalar();
            return absl::OkStatus();
          }};
}

YamlReader::Key Path(const YamlReader& reader, std::string name, std::string& field,
                     const std::string& folder) {
  YamlReader::Key key = Text(reader, std::move(name), field, 4096);
  key.read = [read = std::move(key.read), &field, &folder](
                 const YAML::Node& value, const std::string& path) -> absl::Status {
    RETURN_IF_ERROR(read(value, path));
    field = (std::filesystem::path(folder) / field).lexically_normal().string();
    return absl::OkStatus();
  };
  return key;
}

template <class T>
YamlReader::Key OptionalChoice(const YamlReader& reader, std::string name, T& field,
                               std::vector<T> choices) {
  YamlReader::Key key = reader.Choice(std::move(name), field, std::move(choices));
  key.required = false;
  return key;
}

// A number, or a map of min and max.
YamlReader::Key Lengths(const YamlReader& reader, std::string name, LengthRange& field,
                        Range range) {
  return {
      std::move(name),
      [&reader, &field, range](const YAML::Node& value, const std::string& path) -> absl::Status {
        if (value.IsMap()) {
          RETURN_IF_ERROR(reader.ReadMap(
              value, path,
              {reader.Integer("min", field.min, range), reader.Integer("max", field.max, range)}));
          if (field.min <= field.max) return absl::OkStatus();
          return reader.Error(value, StrCat(path, ".min is above its max"));
        }
        double number = 0;
        RETURN_IF_ERROR(reader.ReadNumber(value, path, range, true, number));
        field.min = field.max = static_cast<int32_t>(number);
        return absl::OkStatus();
      }};
}

YamlReader::Key Map(
    std::string name,
    std::function<absl::Status(const YAML::Node& map, const std::string& path)> read) {
  return {std::move(name), std::move(read)};
}

absl::Status ReadHints(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       HintOptions& hints) {
  const auto flag = [&reader](std::optional<bool>* field) {
    return [&reader, field](const YAML::Node& value, const std::string& at) -> absl::Status {
      bool wanted = false;
      RETURN_IF_ERROR(reader.Boolean("", wanted).read(value, at));
      *field = wanted;
      return absl::OkStatus();
    };
  };
  return reader.ReadMap(node, path,
                        {reader.Integer("latency_sla_us", hints.latency_sla_us, {1, 3.6e9}),
                         reader.Integer("batch_size", hints.batch_size, {1, 1e6}),
                         reader.Number("power_budget_w", hints.power_budget_w, {1e-6, 1e5}),
                         {"deterministic", flag(&hints.deterministic)},
                         {"sla_required", flag(&hints.sla_required)},
                         reader.PlainName("platform", hints.platform, false),
                         reader.PlainName("fallback", hints.fallback, false),
                         reader.PlainName("policy", hints.policy, false)});
}

absl::Status ReadMix(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                     const std::string& folder, RequestMix& mix, double* rate) {
  const std::vector<Kind> kinds = {Kind::kAsk,    Kind::kGenerate,   Kind::kChat,
                                   Kind::kSearch, Kind::kSearchBulk, Kind::kUpsert};
  std::vector<YamlReader::Key> keys = {
      reader.Choice("kind", mix.kind, kinds),
      reader.PlainName("name", mix.name, false),
      reader.PlainName("collection", mix.collection, false),
      reader.PlainName("vector_name", mix.vector_name, false),
      Text(reader, "model", mix.model, 256),
      Path(reader, "questions", mix.questions_path, folder),
      Path(reader, "prompts", mix.prompts_path, folder),
      Path(reader, "vectors", mix.vectors_path, folder),
      Lengths(reader, "prompt_words", mix.prompt_words, {1, 1e6}),
      reader.Integer("shared_prefixes", mix.shared_prefixes, {0, 1e6}),
      reader.Integer("shared_prefix_words", mix.shared_prefix_words, {0, 1e6}),
      reader.Integer("dimension", mix.dimension, {1, 65'536}),
      reader.Integer("k", mix.k, {1, 10'000}),
      reader.Integer("ef", mix.ef, {1, 100'000}),
      reader.Integer("batch", mix.batch, {1, 10'000}),
      reader.Number("exact_share", mix.exact_share, kShare),
      Text(reader, "chat_template", mix.chat_template, 256 << 10),
      Lengths(reader, "max_tokens", mix.max_tokens, {1, 1e6}),
      reader.Boolean("ignore_eos", mix.ignore_eos),
      reader.Integer("deadline_ms", mix.deadline_ms, kMilliseconds),
      reader.Number("cancel_share", mix.cancel_share, kShare),
      Lengths(reader, "cancel_after_ms", mix.cancel_after_ms, {0, kMilliseconds.max}),
      reader.Integer("priority", mix.priority, {-100, 100}),
      Text(reader, "tenant", mix.tenant, 128),
      Map("hints", [&](const YAML::Node& value, const std::string& at) {
        return ReadHints(reader, value, at, mix.hints);
      })};
  if (rate != nullptr) {
    keys.push_back(reader.Number("rate", *rate, kRate));
  } else {
    keys.push_back(reader.Number("weight", mix.weight, {1e-6, 1e6}));
  }
  return reader.ReadMap(node, path, keys);
}

absl::Status ReadArrivals(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                          ArrivalOptions& arrivals) {
  const std::vector<Process> processes = {Process::kClosed, Process::kConstant, Process::kPoisson,
                                          Process::kGamma,  Process::kRamp,     Process::kTrace};
  return reader.ReadMap(node, path,
                        {reader.Choice("process", arrivals.process, processes),
                         reader.Number("rate", arrivals.rate_per_s, kRate),
                         reader.Number("rate_end", arrivals.rate_end_per_s, kRate),
                         reader.Number("burstiness", arrivals.burstiness, {0.01, 1000}),
                         reader.Integer("users", arrivals.users, {1, 100'000}),
                         reader.Number("think_ms", arrivals.think_ms, {0, kMilliseconds.max}),
                         reader.Number("speed", arrivals.speed, {0.001, 1000})});
}

absl::Status ReadSlo(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                     SloOptions& slo) {
  constexpr Range kSloMs = {0.001, 3'600'000};
  return reader.ReadMap(
      node, path,
      {reader.Number("ttft_ms", slo.ttft_ms, kSloMs), reader.Number("tpot_ms", slo.tpot_ms, kSloMs),
       reader.Number("itl_ms", slo.itl_ms, kSloMs), reader.Number("e2e_ms", slo.e2e_ms, kSloMs),
       reader.Number("share", slo.share, {0.01, 1})});
}

absl::Status ReadSweep(const YamlReader& reader, const YAML::Node& node, const std::string& path,
                       SweepOptions& sweep) {
  return reader.ReadMap(node, path,
                        {reader.Number("rate_min", sweep.rate_min_per_s, kRate),
                         reader.Number("rate_max", sweep.rate_max_per_s, kRate),
                         reader.Number("factor", sweep.factor, {1.01, 10}),
                         reader.Integer("refine", sweep.refine, {0, 10}),
                         reader.Number("step_s", sweep.step_s, kSeconds),
                         reader.Number("warmup_s", sweep.warmup_s, {0, kSeconds.max})});
}

absl::Status ReadRoot(const YamlReader& reader, const YAML::Node& root, const std::string& folder,
                      Scenario& scenario) {
  const auto read_mix = [&](const YAML::Node& node, const std::string& path) {
    return ReadMix(reader, node, path, folder, scenario.load.emplace_back(), nullptr);
  };
  const auto read_probe = [&](const YAML::Node& node, const std::string& path) {
    return ReadMix(reader, node, path, folder, scenario.probe.emplace(),
                   &scenario.probe_rate_per_s);
  };
  double seed = 1;
  RETURN_IF_ERROR(reader.ReadMap(
      root, "",
      {Text(reader, "target", scenario.target, 1024),
       OptionalChoice(reader, "api", scenario.api, {Api::kBaton, Api::kOpenAi, Api::kQdrant}),
       reader.Integer("seed", seed, {0, 1e15}),
       reader.Number("duration_s", scenario.duration_s, kSeconds),
       reader.Number("warmup_s", scenario.warmup_s, {0, kSeconds.max}),
       Map("arrivals",
           [&](const YAML::Node& node, const std::string& path) {
             return ReadArrivals(reader, node, path, scenario.arrivals);
           }),
       reader.List("load", {1, 32}, read_mix, true),
       {"probe", read_probe},
       Map("slo",
           [&](const YAML::Node& node, const std::string& path) {
             return ReadSlo(reader, node, path, scenario.slo);
           }),
       Map("sweep",
           [&](const YAML::Node& node, const std::string& path) {
             return ReadSweep(reader, node, path, scenario.sweep.emplace());
           }),
       Path(reader, "trace", scenario.trace_path, folder),
       reader.Integer("in_flight_max", scenario.in_flight_max, {1, 100'000}),
       reader.Integer("channels", scenario.channels, {1, 256}),
       reader.Integer("connect_ms", scenario.connect_ms, kMilliseconds),
       reader.Integer("away_ms", scenario.away_ms, kMilliseconds),
       Map("tls",
           [&](const YAML::Node& node, const std::string& path) {
             scenario.connection.tls = true;
             return reader.ReadMap(node, path,
                                   {Path(reader, "ca", scenario.connection.tls_ca, folder),
                                    Path(reader, "cert", scenario.connection.tls_cert, folder),
                                    Path(reader, "key", scenario.connection.tls_key, folder)});
           }),
       Path(reader, "token_file", scenario.connection.token_file, folder)}));
  scenario.seed = static_cast<uint64_t>(seed);
  return absl::OkStatus();
}

bool FindsPoints(Kind kind) { return kind == Kind::kSearch || kind == Kind::kSearchBulk; }

absl::Status CheckMix(Api api, RequestMix& mix, const std::string& at) {
  const auto wrong = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat(at, " (", Name(mix.kind), ") ", what));
  };
  if (mix.name.empty()) mix.name = Name(mix.kind);
  const bool generates = mix.kind == Kind::kGenerate || mix.kind == Kind::kChat;
  if (!generates && mix.collection.empty()) return wrong("needs a collection");
  if (mix.kind == Kind::kAsk && mix.questions_path.empty()) return wrong("needs questions");
  if (mix.kind == Kind::kAsk && mix.k > 100) return wrong("takes a k of at most 100");
  if (api == Api::kOpenAi && !generates) return wrong("is not in the OpenAI API: generate, chat");
  if (api == Api::kQdrant && !FindsPoints(mix.kind)) {
    return wrong("is not measured over Qdrant's API: search, search_bulk");
  }
  if (!mix.chat_template.empty() && (mix.kind != Kind::kChat || api != Api::kBaton)) {
    return wrong("takes no chat_template: that is of chat over Baton's own API");
  }
  if (mix.exact_share > 0 && mix.kind != Kind::kSearch) {
    return wrong("has no recall: exact_share is of search");
  }
  if (mix.shared_prefix_words > 0 && mix.shared_prefixes == 0) mix.shared_prefixes = 1;
  if (mix.shared_prefix_words > mix.prompt_words.min && mix.prompts_path.empty() && generates &&
      mix.shared_prefixes > 0) {
    return wrong("has shared_prefix_words above prompt_words");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckScenario(Scenario& scenario, const std::string& name) {
  const auto wrong = [&](std::string_view what) {
    return absl::InvalidArgumentError(StrCat(name, ": ", what));
  };
  if (scenario.target.empty()) return wrong("no target: give target, or --target");
  std::set<std::string> names;
  for (size_t i = 0; i < scenario.load.size(); ++i) {
    const std::string at = StrCat(name, ": load[", i, "]");
    RETURN_IF_ERROR(CheckMix(scenario.api, scenario.load[i], at));
    if (!names.insert(scenario.load[i].name).second) {
      return wrong(StrCat("load[", i, "].name \"", scenario.load[i].name,
                          "\" is given twice; without a name it is the kind"));
    }
  }
  if (scenario.probe) RETURN_IF_ERROR(CheckMix(scenario.api, *scenario.probe, name + ": probe"));
  const ArrivalOptions& arrivals = scenario.arrivals;
  if (arrivals.process == Process::kRamp && arrivals.rate_end_per_s <= 0) {
    return wrong("arrivals: a ramp needs rate_end");
  }
  if ((arrivals.process == Process::kTrace) != !scenario.trace_path.empty()) {
    return wrong("arrivals.process: trace and the key trace come together");
  }
  if (arrivals.process == Process::kTrace) {
    const Kind kind = scenario.load.front().kind;
    if (scenario.load.size() != 1 || (kind != Kind::kGenerate && kind != Kind::kChat)) {
      return wrong("a trace is replayed as one entry of load, generate or chat");
    }
  }
  if (scenario.sweep) {
    if (scenario.slo.empty()) return wrong("a sweep needs an slo to break");
    if (arrivals.process != Process::kPoisson && arrivals.process != Process::kConstant &&
        arrivals.process != Process::kGamma) {
      return wrong("a sweep is over constant, poisson or gamma arrivals");
    }
    if (scenario.sweep->rate_min_per_s > scenario.sweep->rate_max_per_s) {
      return wrong("sweep.rate_min is above its rate_max");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Scenario> ParseScenario(const std::string& text, const std::string& name,
                                       const std::string& folder) {
  Scenario scenario;
  RETURN_IF_ERROR(
      ReadYamlDocument(text, name, [&](const YamlReader& reader, const YAML::Node& root) {
        return ReadRoot(reader, root, folder, scenario);
      }));
  return scenario;
}

absl::StatusOr<Scenario> ReadScenario(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(StrCat("cannot open ", path));
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) {
    return absl::InvalidArgumentError(StrCat(path, ": larger than ", kFileBytesMax, " bytes"));
  }
  return ParseScenario(text, path, std::filesystem::path(path).parent_path().string());
}

}  // namespace baton::load
