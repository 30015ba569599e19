#include "config/command_line.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "config/key_table.h"
#include "config/models.h"
#include "config/quoted.h"
#include "config/simulation_file.h"
#include "config/validate.h"
#include "config/yaml_file.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {
namespace {

struct Alias {
  std::string_view flag;
  std::string_view key;
};
constexpr Alias kAliases[] = {
    {"data-dir", "vector.data_dir"},         {"grpc-address", "server.grpc_address"},
    {"http-address", "server.http_address"}, {"require", "executors.require"},
    {"fpga", "executors.fpga.enabled"},
};

// One argument, or two: --NAME=VALUE, --NAME VALUE, --NAME.
struct Flag {
  std::string name;
  std::string value;
};

bool TakesValue(std::string_view name) {
  return name != "help" && name != "version" && name != "print-config" && name != "print-metrics";
}

absl::StatusOr<std::vector<Flag>> SplitFlags(const std::vector<std::string>& arguments) {
  std::vector<Flag> flags;
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& argument = arguments[i];
    if (argument == "-h") {
      flags.push_back({.name = "help", .value = ""});
      continue;
    }
    if (!absl::StartsWith(argument, "--") || argument.size() == 2) {
      return absl::InvalidArgumentError(StrCat("unexpected argument ", Quoted(argument),
                                               "; batond takes flags only, see --help"));
    }
    const size_t equals = argument.find('=');
    std::string name = argument.substr(2, equals == argument.npos ? argument.npos : equals - 2);
    if (!TakesValue(name)) {
      if (equals != argument.npos) {
        return absl::InvalidArgumentError(StrCat("--", name, " takes no value"));
      }
      flags.push_back({.name = std::move(name), .value = ""});
    } else if (equals != argument.npos) {
      flags.push_back({.name = std::move(name), .value = argument.substr(equals + 1)});
    } else if (i + 1 < arguments.size()) {
      flags.push_back({.name = std::move(name), .value = arguments[++i]});
    } else {
      return absl::InvalidArgumentError(StrCat("--", name, " needs a value"));
    }
  }
  return flags;
}

absl::Status ApplyKeyFlag(const Flag& flag, const std::vector<ConfigKey>& keys, Origins& origins) {
  std::string_view path = flag.name;
  for (const Alias& alias : kAliases) {
    if (flag.name == alias.flag) path = alias.key;
  }
  const auto key = std::ranges::find(keys, path, &ConfigKey::path);
  if (key == keys.end()) {
    return absl::InvalidArgumentError(
        StrCat("unknown flag --", flag.name, "; --help lists them all"));
  }
  std::string origin = StrCat("--", flag.name);
  const absl::Status assigned =
      key->is_list() ? AssignList(*key, absl::StrSplit(flag.value, ',', absl::SkipWhitespace()))
                     : Assign(*key, flag.value);
  if (!assigned.ok()) {
    return absl::InvalidArgumentError(StrCat(origin, ": ", std::string(assigned.message())));
  }
  origins[key->path] = std::move(origin);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments) {
  ASSIGN_OR_RETURN(const std::vector<Flag> flags, SplitFlags(arguments));
  CommandLine command;
  Origins origins;

  // The file first, whatever its place among the flags.
  std::optional<std::string> config_path;
  for (const Flag& flag : flags) {
    if (flag.name == "help") {
      command.action = CommandLine::Action::kHelp;
      return command;
    }
    if (flag.name == "version") {
      command.action = CommandLine::Action::kVersion;
      return command;
    }
    if (flag.name == "config" && std::exchange(config_path, flag.value).has_value()) {
      return absl::InvalidArgumentError("--config is given twice");
    }
  }
  if (config_path.has_value()) {
    RETURN_IF_ERROR(ApplyYamlFile(*config_path, command.config, origins));
  }

  const std::vector<ConfigKey> keys = Keys(command.config);
  std::vector<ModelOptions> models;
  for (const Flag& flag : flags) {
    if (flag.name == "config") continue;
    if (flag.name == "print-config") {
      command.action = CommandLine::Action::kPrintConfig;
    } else if (flag.name == "print-metrics") {
      command.action = CommandLine::Action::kPrintMetrics;
    } else if (flag.name == "port-file") {
      command.port_file = flag.value;
    } else if (flag.name == "simulate") {
      if (command.simulation) return absl::InvalidArgumentError("--simulate is given twice");
      ASSIGN_OR_RETURN(command.simulation, ReadSimulation(flag.value));
    } else if (flag.name == "model") {
      const absl::Status added = AddModel(ParseModelFlag(flag.value), models);
      if (!added.ok()) {
        return absl::InvalidArgumentError(StrCat("--model: ", std::string(added.message())));
      }
    } else {
      RETURN_IF_ERROR(ApplyKeyFlag(flag, keys, origins));
    }
  }
  if (!models.empty()) command.config.models = std::move(models);
  RETURN_IF_ERROR(ValidateConfig(command.config, origins));
  return command;
}

std::string HelpText() {
  std::string text =
      "usage: batond [--config FILE] [flags]\n"
      "\n"
      "Serves retrieval-augmented generation over gRPC: collections of vectors, language models "
      "and\n"
      "answers that cite their passages. Stays in the foreground; SIGTERM drains and ends it.\n"
      "\n"
      "  --config FILE           YAML configuration; flags win over it\n"
      "  --data-dir DIR          = --vector.data_dir\n"
      "  --grpc-address IP:PORT  = --server.grpc_address\n"
      "  --http-address IP:PORT  = --server.http_address\n"
      "  --require LIST          = --executors.require, e.g. gpu,fpga\n"
      "  --fpga auto|emulate|off = --executors.fpga.enabled\n"
      "  --model [NAME=]FILE     language model (GGUF); repeatable, the first is the default;\n"
      "                          replaces the models of the file\n"
      "  --port-file FILE        write the bound addresses there once ready\n"
      "  --simulate FILE         stand in for devices that are not there: the CPU computes, and \n"
      "                          answers when the curves of the file say so; labelled everywhere\n"
      "  --print-config          print the effective configuration as commented YAML, and exit\n"
      "  --print-metrics         print what /metrics tells, as a page, and exit\n"
      "  --version, --help\n"
      "\n"
      "Every key of the configuration is a flag:\n";
  Config defaults;
  std::string section;
  for (const ConfigKey& key : Keys(defaults)) {
    const std::string in = key.path.substr(0, key.path.rfind('.'));
    if (in != std::exchange(section, in)) text += StrCat("\n");
    text += StrCat("  --", key.path, "=", Shown(key), "\n        ", key.help, " (", Allowed(key),
                   ")\n");
  }
  return text;
}

}  // namespace baton
