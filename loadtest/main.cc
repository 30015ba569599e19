#include <atomic>
#include <csignal>
#include <iostream>

#include "loadtest/flags.h"
#include "loadtest/load_run.h"
#include "loadtest/report.h"

namespace {

std::atomic<bool> stop = false;

// The first Ctrl-C ends the sending; the second, with the default action back, the program.
void OnInterrupt(int) { stop = true; }

}  // namespace

int main(int argc, char** argv) {
  int exit_code = 0;
  const auto options = baton::load::ParseFlags(argc, argv, exit_code);
  if (!options) {
    return exit_code;
  }
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);

  baton::load::Results results;
  const absl::Status run = baton::load::RunLoad(*options, stop, results);
  const baton::load::Report report(*options, results);
  report.Print(std::cout);
  std::cout.flush();
  absl::Status written;
  if (!options->json_path.empty()) {
    written = report.WriteJson(options->json_path);
  }
  for (const absl::Status& status : {run, written}) {
    if (!status.ok()) {
      std::cerr << "baton-load: " << status.message() << "\n";
    }
  }
  if (run.ok() && results.ok() == 0) {
    std::cerr << "baton-load: no request succeeded\n";
  }
  return run.ok() && written.ok() && results.ok() > 0 ? 0 : 1;
}
