#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "config/config.h"
#include "engine/exec/simulated/simulation_options.h"

namespace baton {

// What batond was asked to do.
struct CommandLine {
  enum class Action { kServe, kHelp, kVersion, kPrintConfig, kPrintMetrics };
  Action action = Action::kServe;
  Config config;          // defaults, then the file, then the flags
  std::string port_file;  // where to write the bound addresses; empty: nowhere
  std::optional<SimulationOptions> simulation;  // devices to simulate
};

// `arguments` without the program's name. Every key of the configuration is a flag, --KEY=VALUE or
// --KEY VALUE; a flag wins over the file. Errors name the flag, or the file, line and key.
absl::StatusOr<CommandLine> ParseCommandLine(const std::vector<std::string>& arguments);

// What --help prints.
std::string HelpText();

}  // namespace baton
