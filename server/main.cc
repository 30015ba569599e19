// batond: reads the configuration, starts the daemon, waits for a signal.
#include <cstdio>
#include <string>
#include <vector>

#include "config/command_line.h"
#include "config/print_config.h"
#include "engine/base/log.h"
#include "engine/base/metric_table.h"
#include "server/app.h"
#include "server/signals.h"
#include "server/version.h"

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "batond: %s\n", std::string(status.message()).c_str());
  return 1;
}

int Serve(const baton::CommandLine& command, const std::vector<std::string>& arguments) {
  baton::SignalWatcher signals;  // first: it blocks signals in every thread to come
  baton::InitLog(command.config.log);
  auto app = baton::App::Start(command.config, command.simulation);
  if (!app.ok()) return Fail(app.status());
  signals.SetServing();
  if (!command.port_file.empty()) {
    const absl::Status written = (*app)->WritePortFile(command.port_file);
    if (!written.ok()) return Fail(written);
  }
  (*app)->SetConfigReader([&arguments]() -> absl::StatusOr<baton::Config> {
    auto again = baton::ParseCommandLine(arguments);
    if (!again.ok()) return again.status();
    return again->config;
  });
  (*app)->Run(signals);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const auto command = baton::ParseCommandLine(arguments);
  if (!command.ok()) return Fail(command.status());
  switch (command->action) {
    case baton::CommandLine::Action::kHelp:
      std::fputs(baton::HelpText().c_str(), stdout);
      return 0;
    case baton::CommandLine::Action::kVersion:
      std::printf("batond %s\n", baton::kVersion);
      return 0;
    case baton::CommandLine::Action::kPrintConfig:
      std::fputs(baton::CommentedYaml(command->config).c_str(), stdout);
      return 0;
    case baton::CommandLine::Action::kPrintMetrics:
      std::fputs(baton::MetricsPage().c_str(), stdout);
      return 0;
    case baton::CommandLine::Action::kServe:
      return Serve(*command, arguments);
  }
}
