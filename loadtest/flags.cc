#include "loadtest/flags.h"

#include <CLI/CLI.hpp>
#include <map>

namespace baton::load {
namespace {

constexpr int kExitUsage = 2;

// What a scenario needs and CLI11 cannot say; empty when all is there.
std::string MissingFlag(const LoadOptions& options) {
  if (options.scenario != Scenario::kGenerate && options.collection.empty()) {
    return "--scenario ask and search need --collection";
  }
  if (options.scenario == Scenario::kAsk && options.questions_path.empty()) {
    return "--scenario ask needs --questions FILE.jsonl";
  }
  if (options.scenario == Scenario::kGenerate && options.prompts_path.empty()) {
    return "--scenario generate needs --prompts FILE";
  }
  return "";
}

}  // namespace

std::optional<LoadOptions> ParseFlags(int argc, const char* const* argv, int& exit_code) {
  LoadOptions options;
  CLI::App app{
      "baton-load: open-loop load on a Baton daemon.\n"
      "Requests are sent at their intended times whatever became of earlier ones, and every "
      "latency "
      "counts from the intended time."};
  app.name("baton-load");
  const std::map<std::string, Scenario> scenarios = {
      {"ask", Scenario::kAsk}, {"generate", Scenario::kGenerate}, {"search", Scenario::kSearch}};
  const std::map<std::string, ArrivalKind> arrivals = {{"poisson", ArrivalKind::kPoisson},
                                                       {"constant", ArrivalKind::kConstant}};
  app.add_option("--target", options.target, "Address of the daemon, host:port")->required();
  app.add_option("--scenario", options.scenario, "ask, generate or search")
      ->required()
      ->transform(CLI::CheckedTransformer(scenarios));
  app.add_option("--rate", options.rate_per_s, "Requests per second")
      ->required()
      ->check(CLI::Range(0.001, 1e6));
  app.add_option("--duration", options.duration_s, "Seconds to send for")
      ->required()
      ->check(CLI::Range(0.001, 86'400.0));
  app.add_option("--arrivals", options.arrivals, "poisson (default) or constant")
      ->transform(CLI::CheckedTransformer(arrivals));
  app.add_option("--seed", options.seed, "Seed of arrivals and choice of inputs")
      ->capture_default_str();
  app.add_option("--collection", options.collection, "Collection (ask, search)");
  app.add_option("--model", options.model, "Language model; default: the daemon's (ask, generate)");
  app.add_option("--questions", options.questions_path,
                 "JSON lines with a \"question\" each (ask)");
  app.add_option("--prompts", options.prompts_path, "One prompt a line (generate)");
  app.add_option("--dim", options.dimension,
                 "Length of the random query vectors; default: asked of the daemon (search)")
      ->check(CLI::Range(1, 65'536));
  app.add_option("--k", options.k, "Passages or points to find (ask: at most 100)")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  app.add_option("--max-tokens", options.max_tokens, "Longest answer (ask, generate)")
      ->capture_default_str()
      ->check(CLI::Range(1, 1'000'000));
  app.add_flag("--ignore-eos", options.ignore_eos, "Generate --max-tokens always (generate)");
  app.add_option("--deadline-ms", options.deadline_ms, "Deadline, from the intended send time")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{3'600'000}));
  app.add_option("--max-in-flight", options.in_flight_max,
                 "Requests under way at once; one too many is dropped and counted")
      ->capture_default_str()
      ->check(CLI::Range(1, 100'000));
  app.add_option("--channels", options.channels, "Connections")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  app.add_option("--json", options.json_path, "Also write the figures to this file");
  app.add_option("--commit", options.commit, "What was measured, recorded in the JSON");
  try {
    app.parse(argc, argv);
    if (const std::string missing = MissingFlag(options); !missing.empty()) {
      throw CLI::ValidationError(missing);
    }
  } catch (const CLI::Success& done) {
    exit_code = app.exit(done);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    exit_code = kExitUsage;
    return std::nullopt;
  }
  return options;
}

}  // namespace baton::load
