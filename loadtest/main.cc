#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/strings/str_format.h"
#include "absl/synchronization/mutex.h"
#include "loadtest/flags.h"
#include "loadtest/html_report.h"
#include "loadtest/load_run.h"
#include "loadtest/report.h"
#include "loadtest/sweep.h"

namespace baton::load {
namespace {

constexpr int kExitFailed = 1;

std::atomic<bool> stop = false;

// The first Ctrl-C ends the sending; the second, with the default action back, the program.
void OnInterrupt(int) { stop = true; }

int Fail(const absl::Status& status) {
  std::cerr << "baton-load: " << status.message() << "\n";
  return kExitFailed;
}

// To standard error: one line that is written over on a terminal, else one every ten seconds.
ShowProgress ProgressLine(bool quiet) {
  if (quiet) return {};
  const bool terminal = isatty(STDERR_FILENO) == 1;
  return [terminal, last_s = 0.0](const Progress& at) mutable {
    if (!terminal && at.at_s - last_s < 10) return;
    last_s = at.at_s < last_s ? 0 : at.at_s;
    std::cerr << absl::StreamFormat(
        "%s%6.1f of %.1f s: sent %d, ok %d (%.1f/s), failed %d, under "
        "way %d%s",
        terminal ? "\r" : "", at.at_s, at.of_s, at.sent, at.ok, at.ok_per_s, at.failed,
        at.in_flight, terminal ? "  " : "\n");
    std::cerr.flush();
  };
}

void ShowStep(const SweepStep& step) {
  std::cerr << absl::StreamFormat("\rrate %.2f/s: %.1f %% good, E2E p99 %.1f ms, %s            \n",
                                  step.rate_per_s, 100 * step.goodput_share, step.e2e_p99_ms,
                                  step.holds ? "holds" : "breaks the SLO");
}

// Prints and writes whatever there is, also of a run that failed.
int Conclude(const Scenario& scenario, const absl::Status& run, Results& results,
             const SweepOutcome* sweep) {
  const nlohmann::json document = MakeDocument(scenario, run, results, sweep);
  std::cerr.flush();
  PrintTable(document, std::cout);
  std::cout.flush();
  int exit_code = run.ok() ? 0 : Fail(run);
  if (!scenario.json_path.empty()) {
    const auto written = WriteText(scenario.json_path, DumpDocument(document));
    if (!written.ok()) exit_code = Fail(written);
  }
  if (!scenario.html_path.empty()) {
    const auto written = WriteText(scenario.html_path, RenderHtml({{"Run", document}}));
    if (!written.ok()) exit_code = Fail(written);
  }
  if (run.ok() && results.all.ok == 0) {
    return Fail(absl::UnavailableError("no request succeeded"));
  }
  if (run.ok() && sweep != nullptr && sweep->rate_at_slo == 0) {
    return Fail(absl::OutOfRangeError("no rate of the sweep was within the SLO"));
  }
  return exit_code;
}

int Run(const Scenario& scenario) {
  // Debian's Abseil, whose mutexes are gRPC's, looks for deadlocks, under one lock of the process.
  absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle::kIgnore);
  struct sigaction action = {};
  action.sa_handler = OnInterrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
  Results results(scenario.slo, scenario.load, scenario.probe.has_value());
  auto transport = MakeTransport(scenario);
  if (!transport.ok()) return Conclude(scenario, transport.status(), results, nullptr);
  if (const absl::Status connected = (*transport)->Connect(); !connected.ok()) {
    return Conclude(scenario, connected, results, nullptr);
  }
  const auto load = PreparedLoad::Make(scenario, **transport);
  if (!load.ok()) return Conclude(scenario, load.status(), results, nullptr);
  const ShowProgress show = ProgressLine(scenario.quiet);
  if (!scenario.sweep) {
    const absl::Status run = RunLoad(scenario, *load, **transport, stop, show, results);
    if (!scenario.quiet) std::cerr << "\n";
    return Conclude(scenario, run, results, nullptr);
  }
  SweepOutcome sweep =
      RunSweep(scenario, *load, **transport, stop, show,
               scenario.quiet ? std::function<void(const SweepStep&)>() : ShowStep);
  return Conclude(scenario, sweep.status, sweep.best ? *sweep.best : results, &sweep);
}

int CompareFiles(const Command& command) {
  const auto a = ReadDocument(command.files[0]);
  const auto b = ReadDocument(command.files[1]);
  for (const auto* document : {&a, &b}) {
    if (!document->ok()) {
      Fail(document->status());
      return 2;
    }
  }
  const std::vector<Ratio> ratios = Compare(*a, *b, command.compare);
  if (ratios.empty()) {
    Fail(absl::InvalidArgumentError("the two reports have no figure in common"));
    return 2;
  }
  PrintRatios(ratios, command.compare, std::cout);
  return std::any_of(ratios.begin(), ratios.end(), [](const Ratio& ratio) { return ratio.worse; })
             ? kExitFailed
             : 0;
}

int WriteHtml(const Command& command) {
  std::vector<std::pair<std::string, nlohmann::json>> documents;
  for (const std::string& path : command.files) {
    auto document = ReadDocument(path);
    if (!document.ok()) return Fail(document.status());
    documents.emplace_back(std::filesystem::path(path).stem().string(), *std::move(document));
  }
  const absl::Status written = WriteText(command.out, RenderHtml(documents));
  return written.ok() ? 0 : Fail(written);
}

}  // namespace
}  // namespace baton::load

int main(int argc, char** argv) {
  int exit_code = 0;
  const auto command = baton::load::ParseFlags(argc, argv, exit_code);
  if (!command) return exit_code;
  switch (command->kind) {
    case baton::load::Command::kCompare:
      return baton::load::CompareFiles(*command);
    case baton::load::Command::kHtml:
      return baton::load::WriteHtml(*command);
    case baton::load::Command::kRun:
      return baton::load::Run(command->scenario);
  }
  return 0;
}
