#include "loadtest/flags.h"

#include <CLI/CLI.hpp>
#include <map>

#include "loadtest/scenario_file.h"

namespace baton::load {
namespace {

constexpr int kExitUsage = 2;

// What the flags hold before they are a scenario. A flag that was not given leaves the scenario
// file's value.
struct RunFlags {
  std::string target, scenario, arrivals, collection, model, questions, prompts, vectors, trace;
  std::string api, json, html, commit;
  ConnectionOptions connection;
  double rate = 0, duration = 0, warmup = 0;
  uint64_t seed = 1;
  int32_t dimension = 0, k = 0, max_tokens = 0, in_flight_max = 0, channels = 0, users = 0;
  int64_t deadline_ms = 0;
  double ttft_ms = 0, tpot_ms = 0, e2e_ms = 0;
  bool ignore_eos = false, quiet = false;
};

bool IsFile(const std::string& scenario) {
  return scenario.ends_with(".yaml") || scenario.ends_with(".yml");
}

void AddRunFlags(CLI::App& app, RunFlags& flags) {
  app.add_option("--target", flags.target, "Address of the server, host:port");
  app.add_option("--scenario", flags.scenario,
                 "ask, generate, chat, search, search_bulk or upsert; or FILE.yaml (see "
                 "loadtest/README.md), whose keys the flags below override")
      ->required();
  app.add_option("--api", flags.api, "baton (default), openai or qdrant")
      ->check(CLI::IsMember({"baton", "openai", "qdrant"}));
  app.add_option("--rate", flags.rate, "Requests per second")->check(CLI::Range(0.001, 1e6));
  app.add_option("--duration", flags.duration, "Seconds to send for")
      ->check(CLI::Range(0.001, 86'400.0));
  app.add_option("--warmup", flags.warmup, "Seconds to send before, in no figure")
      ->check(CLI::Range(0.0, 86'400.0));
  app.add_option("--arrivals", flags.arrivals, "poisson (default), constant or closed")
      ->check(CLI::IsMember({"poisson", "constant", "closed"}));
  app.add_option("--users", flags.users, "Users of a closed loop")->check(CLI::Range(1, 100'000));
  app.add_option("--seed", flags.seed, "Seed of arrivals and choice of inputs");
  app.add_option("--collection", flags.collection, "Collection (ask, search, search_bulk, upsert)");
  app.add_option("--model", flags.model, "Language model; default: the server's");
  app.add_option("--questions", flags.questions, "JSON lines with a \"question\" each (ask)");
  app.add_option("--prompts", flags.prompts,
                 "One prompt a line; default: drawn words (generate, chat)");
  app.add_option("--vectors", flags.vectors, "FILE.fvecs; default: random directions (search)");
  app.add_option("--trace", flags.trace, "Replay this trace (generate, chat)");
  app.add_option("--dim", flags.dimension,
                 "Length of the random vectors; default: asked of the daemon (search)")
      ->check(CLI::Range(1, 65'536));
  app.add_option("--k", flags.k, "Passages or points to find (ask: at most 100); default 5")
      ->check(CLI::Range(1, 10'000));
  app.add_option("--max-tokens", flags.max_tokens, "Longest answer; default 64")
      ->check(CLI::Range(1, 1'000'000));
  app.add_flag("--ignore-eos", flags.ignore_eos, "Generate --max-tokens always");
  app.add_option("--deadline-ms", flags.deadline_ms,
                 "Deadline, from the intended send time; default 30000")
      ->check(CLI::Range(int64_t{1}, int64_t{3'600'000}));
  app.add_option("--slo-ttft-ms", flags.ttft_ms, "Goodput: first token within")
      ->check(CLI::PositiveNumber);
  app.add_option("--slo-tpot-ms", flags.tpot_ms, "Goodput: time per token within")
      ->check(CLI::PositiveNumber);
  app.add_option("--slo-e2e-ms", flags.e2e_ms, "Goodput: all of it within")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-in-flight", flags.in_flight_max,
                 "Requests under way at once; one too many is dropped and counted; default 1024")
      ->check(CLI::Range(1, 100'000));
  app.add_option("--channels", flags.channels, "Connections; default 4")->check(CLI::Range(1, 256));
  app.add_flag("--tls", flags.connection.tls, "Use TLS; the other --tls flags imply it");
  app.add_option("--tls-ca", flags.connection.tls_ca,
                 "PEM file of authorities that the server's certificate must come from; default: "
                 "the system's");
  app.add_option("--tls-cert", flags.connection.tls_cert, "PEM file of a client certificate");
  app.add_option("--tls-key", flags.connection.tls_key, "PEM file of its key");
  app.add_option("--token-file", flags.connection.token_file, "File that holds a bearer token");
  app.add_option("--json", flags.json, "Also write the report to this file");
  app.add_option("--html", flags.html, "Also write it as a page with plots");
  app.add_option("--commit", flags.commit, "What was measured, recorded in the report");
  app.add_flag("--quiet", flags.quiet, "No progress while it runs");
}

template <class T>
T NamedOf(const std::string& name, std::initializer_list<T> all) {
  for (const T one : all) {
    if (Name(one) == name) return one;
  }
  throw CLI::ValidationError("--scenario " + name + " is neither a kind nor a .yaml file");
}

// Of the first of the load: the flags are of one kind of request.
void ApplyToMix(const CLI::App& app, const RunFlags& flags, RequestMix& mix) {
  const auto given = [&app](const char* flag) { return app.count(flag) > 0; };
  if (given("--collection")) mix.collection = flags.collection;
  if (given("--model")) mix.model = flags.model;
  if (given("--questions")) mix.questions_path = flags.questions;
  if (given("--prompts")) mix.prompts_path = flags.prompts;
  if (given("--vectors")) mix.vectors_path = flags.vectors;
  if (given("--dim")) mix.dimension = flags.dimension;
  if (given("--k")) mix.k = flags.k;
  if (given("--max-tokens")) mix.max_tokens = {flags.max_tokens, flags.max_tokens};
  if (given("--ignore-eos")) mix.ignore_eos = flags.ignore_eos;
  if (given("--deadline-ms")) mix.deadline_ms = flags.deadline_ms;
}

Scenario ScenarioOf(const CLI::App& app, const RunFlags& flags) {
  Scenario scenario;
  const auto given = [&app](const char* flag) { return app.count(flag) > 0; };
  const auto check = [](const absl::Status& status) {
    if (!status.ok()) throw CLI::ValidationError(std::string(status.message()));
  };
  if (IsFile(flags.scenario)) {
    auto read = ReadScenario(flags.scenario);
    check(read.status());
    scenario = *std::move(read);
  } else {
    scenario.load.emplace_back().kind =
        NamedOf(flags.scenario, {Kind::kAsk, Kind::kGenerate, Kind::kChat, Kind::kSearch,
                                 Kind::kSearchBulk, Kind::kUpsert});
    const bool closed = flags.arrivals == "closed";
    if (!given("--rate") && !closed && !given("--trace")) throw CLI::RequiredError("--rate");
    if (!given("--duration") && !given("--trace")) throw CLI::RequiredError("--duration");
  }
  if (given("--target")) scenario.target = flags.target;
  if (given("--api")) scenario.api = NamedOf(flags.api, {Api::kBaton, Api::kOpenAi, Api::kQdrant});
  if (given("--rate")) scenario.arrivals.rate_per_s = flags.rate;
  if (given("--duration")) scenario.duration_s = flags.duration;
  if (given("--warmup")) scenario.warmup_s = flags.warmup;
  if (given("--arrivals")) {
    scenario.arrivals.process =
        NamedOf(flags.arrivals, {Process::kPoisson, Process::kConstant, Process::kClosed});
  }
  if (given("--trace")) {
    scenario.trace_path = flags.trace;
    scenario.arrivals.process = Process::kTrace;
  }
  if (given("--users")) scenario.arrivals.users = flags.users;
  if (given("--seed")) scenario.seed = flags.seed;
  if (given("--slo-ttft-ms")) scenario.slo.ttft_ms = flags.ttft_ms;
  if (given("--slo-tpot-ms")) scenario.slo.tpot_ms = flags.tpot_ms;
  if (given("--slo-e2e-ms")) scenario.slo.e2e_ms = flags.e2e_ms;
  if (given("--max-in-flight")) scenario.in_flight_max = flags.in_flight_max;
  if (given("--channels")) scenario.channels = flags.channels;
  if (given("--tls")) scenario.connection.tls = flags.connection.tls;
  if (given("--tls-ca")) scenario.connection.tls_ca = flags.connection.tls_ca;
  if (given("--tls-cert")) scenario.connection.tls_cert = flags.connection.tls_cert;
  if (given("--tls-key")) scenario.connection.tls_key = flags.connection.tls_key;
  if (given("--token-file")) scenario.connection.token_file = flags.connection.token_file;
  for (RequestMix& mix : scenario.load) ApplyToMix(app, flags, mix);
  scenario.json_path = flags.json;
  scenario.html_path = flags.html;
  scenario.commit = flags.commit;
  scenario.quiet = flags.quiet;
  check(CheckScenario(scenario, IsFile(flags.scenario) ? flags.scenario : "baton-load"));
  return scenario;
}

void AddCompareFlags(CLI::App& app, Command& command) {
  app.add_option("reports", command.files, "A.json B.json, written by --json")
      ->required()
      ->expected(2);
  app.add_option("--tolerance", command.compare.tolerance,
                 "How much worse is still well; 0.05 is 5 %")
      ->check(CLI::Range(0.0, 10.0))
      ->capture_default_str();
  app.add_option("--seed", command.compare.seed, "Seed of the resampling")->capture_default_str();
  app.add_option("--resamples", command.compare.resamples, "How many")
      ->check(CLI::Range(100, 100'000))
      ->capture_default_str();
}

}  // namespace

std::optional<Command> ParseFlags(int argc, const char* const* argv, int& exit_code) {
  Command command;
  RunFlags flags;
  const std::string first = argc > 1 ? argv[1] : "";
  CLI::App app;
  app.name("baton-load");
  if (first == "compare") {
    command.kind = Command::kCompare;
    app.description(
        "baton-load compare: ratios of two runs with 95 % intervals.\n"
        "Exits with 1 where something is worse beyond the tolerance.");
    AddCompareFlags(app, command);
  } else if (first == "html") {
    command.kind = Command::kHtml;
    app.description("baton-load html: several reports as one page, in their order.");
    app.add_option("reports", command.files, "REPORT.json ...")->required();
    app.add_option("--out", command.out, "Where the page goes")->required();
  } else {
    app.description(
        "baton-load: load on a Baton daemon, an OpenAI-compatible server or Qdrant.\n"
        "In open loop requests are sent at their intended times whatever became of earlier ones, "
        "and every latency counts from the intended time.\n"
        "Also: baton-load compare A.json B.json, baton-load html REPORT.json... --out PAGE.html");
    AddRunFlags(app, flags);
  }
  const int skipped = command.kind == Command::kRun ? 0 : 1;
  try {
    app.parse(argc - skipped, argv + skipped);
    if (command.kind == Command::kRun) command.scenario = ScenarioOf(app, flags);
  } catch (const CLI::Success& done) {
    exit_code = app.exit(done);
    return std::nullopt;
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    exit_code = kExitUsage;
    return std::nullopt;
  }
  return command;
}

}  // namespace baton::load
