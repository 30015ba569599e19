#include "server/batonctl/flags.h"

#include <CLI/CLI.hpp>
#include <map>

#include "absl/strings/numbers.h"
#include "server/batonctl/exit_codes.h"
#include "server/batonctl/flag_parts.h"

namespace baton::ctl {
namespace {

const std::map<std::string, v1::Platform> kPlatforms = {
    {"cpu", v1::PLATFORM_CPU}, {"gpu", v1::PLATFORM_GPU}, {"fpga", v1::PLATFORM_FPGA}};
const std::map<std::string, v1::Fallback> kFallbacks = {{"none", v1::FALLBACK_NONE},
                                                        {"cpu", v1::FALLBACK_CPU},
                                                        {"alternate", v1::FALLBACK_ALTERNATE},
                                                        {"retry", v1::FALLBACK_RETRY}};
const std::map<std::string, v1::HandoffFailure> kHandoffFailures = {
    {"fail", v1::HANDOFF_FAILURE_FAIL},
    {"recompute", v1::HANDOFF_FAILURE_RECOMPUTE},
    {"local", v1::HANDOFF_FAILURE_LOCAL}};
const std::map<std::string, v1::Policy> kPolicies = {
    {"latency_optimized", v1::POLICY_LATENCY_OPTIMIZED},
    {"throughput_optimized", v1::POLICY_THROUGHPUT_OPTIMIZED},
    {"power_optimized", v1::POLICY_POWER_OPTIMIZED},
    {"balanced", v1::POLICY_BALANCED}};
const std::map<std::string, v1::PowerMode> kPowerModes = {{"standby", v1::POWER_MODE_STANDBY},
                                                          {"normal", v1::POWER_MODE_NORMAL},
                                                          {"peak", v1::POWER_MODE_PEAK}};
const std::map<std::string, v1::Retrieval> kRetrievals = {
    {"dense", v1::RETRIEVAL_DENSE}, {"text", v1::RETRIEVAL_TEXT}, {"hybrid", v1::RETRIEVAL_HYBRID}};
const std::map<std::string, v1::ExplainRequest::Kind> kKinds = {
    {"generate", v1::ExplainRequest::GENERATE}, {"embed", v1::ExplainRequest::EMBED},
    {"search", v1::ExplainRequest::SEARCH},     {"upsert", v1::ExplainRequest::UPSERT},
    {"ask", v1::ExplainRequest::ASK},           {"rerank", v1::ExplainRequest::RERANK},
    {"cluster", v1::ExplainRequest::CLUSTER}};

void AddGlobal(CLI::App& app, Options& options) {
  app.add_option("--server", options.server, "Address of the daemon, host:port")
      ->capture_default_str();
  ConnectionOptions& connection = options.connection;
  app.add_flag("--tls", connection.tls, "Use TLS; the other --tls flags imply it");
  app.add_option("--tls-ca", connection.tls_ca,
                 "PEM file of the authority of the daemon's certificate; else the system's");
  app.add_option("--tls-cert", connection.tls_cert, "PEM file of a client certificate");
  app.add_option("--tls-key", connection.tls_key, "PEM file of its key");
  app.add_option("--token-file", connection.token_file, "File that holds a bearer token");
  app.add_flag("--json", options.json, "Print JSON (streams: one document a line)");
  app.add_option("--timeout", options.timeout_s, "Seconds that a request may take")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 86'400.0));

  v1::RequestOptions* request = &options.request;
  const std::string group = "Hints";
  MaybeEnum(app, "--platform", "Run on this platform: cpu, gpu or fpga", kPlatforms,
            [request](v1::Platform p) { request->mutable_hints()->set_platform(p); });
  MaybeEnum(app, "--fallback", "When that platform cannot: none, cpu, alternate or retry",
            kFallbacks, [request](v1::Fallback f) { request->mutable_hints()->set_fallback(f); });
  Maybe<int32_t>(app, "--retries", "For --fallback retry: how often", [request](int32_t n) {
    request->mutable_hints()->set_retries(n);
  })->check(CLI::Range(1, 10));
  app.add_option_function<std::vector<std::string>>(
         "--exclude",
         [request](const std::vector<std::string>& platforms) {
           for (const std::string& platform : platforms) {
             request->mutable_hints()->add_exclude(kPlatforms.at(platform));
           }
         },
         "Do not run there: cpu, gpu, fpga or a list of them")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->take_all()
      ->check(CLI::IsMember(kPlatforms));
  MaybeEnum(app, "--policy", "latency_optimized, throughput_optimized, power_optimized or balanced",
            kPolicies, [request](v1::Policy p) { request->mutable_hints()->set_policy(p); });
  MaybeEnum(app, "--on-handoff-failure", "Of a handoff that fails: fail, recompute or local",
            kHandoffFailures, [request](v1::HandoffFailure f) {
              request->mutable_hints()->set_on_handoff_failure(f);
            });
  app.add_flag_callback(
      "--sla-required", [request] { request->mutable_hints()->set_sla_required(true); },
      "Fail where --sla-us is predicted to be missed");
  Maybe<int64_t>(app, "--sla-us", "Latency needed, microseconds", [request](int64_t us) {
    request->mutable_hints()->set_latency_sla_us(us);
  })->check(CLI::Range(int64_t{1}, int64_t{3'600'000'000}));
  Maybe<int32_t>(app, "--batch-size", "How many such requests come together", [request](int32_t n) {
    request->mutable_hints()->set_batch_size(n);
  })->check(CLI::Range(1, 1'000'000));
  Maybe<double>(app, "--power-w", "Watts the work may draw", [request](double watts) {
    request->mutable_hints()->set_power_budget_w(watts);
  })->check(CLI::Range(std::nextafter(0.0, 1.0), 100'000.0));
  app.add_flag_callback(
      "--deterministic", [request] { request->mutable_hints()->set_deterministic(true); },
      "Prefer results that do not depend on other work");
  Maybe<int32_t>(app, "--priority", "Higher runs first, -100 to 100", [request](int32_t priority) {
    request->set_priority(priority);
  })->check(CLI::Range(-100, 100));
  Maybe<std::string>(app, "--tenant", "Who the work is for",
                     [request](const std::string& tenant) { request->set_tenant(tenant); });
  for (const char* name : {"--platform", "--fallback", "--retries", "--exclude", "--policy",
                           "--sla-us", "--sla-required", "--batch-size", "--power-w",
                           "--deterministic", "--on-handoff-failure", "--priority", "--tenant"}) {
    app.get_option(name)->group(group);
  }
}

void SetBiases(const std::vector<std::string>& biases, v1::SamplingParams& sampling) {
  for (const std::string& text : biases) {
    const size_t equals = text.find('=');
    int32_t token = 0;
    float bias = 0;
    if (equals == std::string::npos || !CLI::detail::lexical_cast(text.substr(0, equals), token) ||
        !CLI::detail::lexical_cast(text.substr(equals + 1), bias)) {
      throw CLI::ValidationError("--logit-bias", "must be TOKEN=BIAS, but is \"" + text + "\"");
    }
    (*sampling.mutable_logit_bias())[token] = bias;
  }
}

void AddSampling(CLI::App& app, v1::SamplingParams* sampling) {
  Maybe<float>(app, "--temperature", "0 takes the most likely token (default)",
               [sampling](float value) { sampling->set_temperature(value); })
      ->check(CLI::Range(0.0, 100.0));
  Maybe<int32_t>(app, "--top-k", "Keep the k most likely tokens, 0 all", [sampling](int32_t value) {
    sampling->set_top_k(value);
  })->check(CLI::Range(0, 1'000'000));
  Maybe<float>(app, "--top-p", "Keep the most likely tokens up to this sum of probabilities",
               [sampling](float value) { sampling->set_top_p(value); })
      ->check(CLI::Range(0.0, 1.0));
  Maybe<float>(app, "--min-p", "Keep tokens this likely, relative to the most likely one",
               [sampling](float value) { sampling->set_min_p(value); })
      ->check(CLI::Range(0.0, 1.0));
  Maybe<uint64_t>(app, "--seed", "Seed of the sampling",
                  [sampling](uint64_t value) { sampling->set_seed(value); });
  app.add_option_function<std::vector<std::string>>(
         "--logit-bias",
         [sampling](const std::vector<std::string>& biases) { SetBiases(biases, *sampling); },
         "TOKEN=BIAS: add -100 to 100 to a token's logit; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  Maybe<float>(app, "--repetition-penalty", "Divide logits of tokens seen lately; 1 is off",
               [sampling](float value) { sampling->set_repetition_penalty(value); })
      ->check(CLI::Range(0.01, 100.0));
  Maybe<int32_t>(app, "--penalty-last-n", "How many last tokens that looks at; -1 all",
                 [sampling](int32_t value) { sampling->set_penalty_last_n(value); })
      ->check(CLI::Range(-1, 1'048'576));
  Maybe<float>(app, "--presence-penalty", "Subtract from logits of generated tokens",
               [sampling](float value) { sampling->set_presence_penalty(value); })
      ->check(CLI::Range(-2.0, 2.0));
  Maybe<float>(app, "--frequency-penalty", "The same for each time that they were generated",
               [sampling](float value) { sampling->set_frequency_penalty(value); })
      ->check(CLI::Range(-2.0, 2.0));
}

CLI::Option_group* AddConstraint(CLI::App& app, ConstraintOptions& constraint) {
  auto* group = app.add_option_group("constraint");
  group->add_option("--grammar", constraint.grammar_file,
                    "File with a grammar (GBNF) that the text must match");
  group->add_option("--json-schema", constraint.json_schema_file,
                    "File with a JSON schema; the text is a document of it");
  group->add_flag("--json-object", constraint.json_object, "The text is a JSON object");
  group->require_option(0, 1);
  return group;
}

void AddTokens(CLI::App& app, TokenOptions& tokens) {
  app.add_option("--stop", tokens.stop, "End before this text; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  app.add_option("--stop-token", tokens.stop_tokens, "End before this token; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  app.add_flag("--include-stop", tokens.include_stop, "End behind them instead");
  AddOptional(app, "--min-tokens", tokens.min_tokens, "Do not end within so many tokens")
      ->check(CLI::Range(0, INT32_MAX));
  AddOptional(app, "--logprobs", tokens.logprobs,
              "Show log probabilities, of so many alternatives to each token too")
      ->check(CLI::Range(0, 20));
}

void AddIngest(CLI::App& app, Options& options, IngestOptions& ingest) {
  CLI::App* sub =
      app.add_subcommand("ingest", "Read documents (.md, .txt, .jsonl) into a collection");
  Need(*sub, "PATH", ingest.paths, "Files and folders");
  Need(*sub, "--collection,-c", ingest.collection, "Collection; created where it does not exist");
  sub->add_option("--root", ingest.root, "Document ids are paths relative to this folder");
  sub->add_option("--skip", ingest.skip, "Leave out the first N documents: resumes an ingest")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  AddOptional(*sub, "--passage-chars", ingest.passage_chars_max, "Longest passage, characters")
      ->check(CLI::Range(64, 8'192));
  AddOptional(*sub, "--overlap-chars", ingest.passage_overlap_chars,
              "Characters that consecutive passages may share")
      ->check(CLI::Range(0, 4'095));
  sub->callback([&] { options.command = ingest; });
}

void AddImport(CLI::App& app, Options& options, ImportOptions& import) {
  CLI::App* sub = app.add_subcommand(
      "import", "Read vectors (.fvecs, .bvecs, .npy, .fbin, .u8bin, .i8bin, .jsonl)");
  Need(*sub, "FILE", import.path, "The file; its rows' numbers are their ids, but for JSONL");
  Need(*sub, "--collection,-c", import.collection, "Collection, which must exist");
  sub->add_option("--skip", import.skip, "Leave out the first N rows: resumes an import")
      ->check(CLI::Range(int64_t{0}, INT64_MAX));
  sub->add_option("--first-id", import.first_id, "Add N to ids");
  sub->add_option("--vector-name", import.vector_name,
                  "Which vector of the points it is; default: the unnamed one");
  sub->callback([&] { options.command = import; });
}

void AddAsk(CLI::App& app, Options& options, AskOptions& ask) {
  CLI::App* sub = app.add_subcommand("ask", "Answer a question from a collection, with citations");
  Need(*sub, "QUESTION", ask.question, "The question; - reads standard input");
  Need(*sub, "--collection,-c", ask.collection, "Collection");
  sub->add_option("--model", ask.model, "Language model; default: the daemon's");
  AddOptional(*sub, "-k,--k", ask.k, "Passages to retrieve")->check(CLI::Range(1, 100));
  AddOptional(*sub, "--max-tokens", ask.max_tokens, "Longest answer, tokens")
      ->check(CLI::Range(1, INT32_MAX));
  AddOptional(*sub, "-n,--answers", ask.answers, "Answer it so many times")
      ->check(CLI::Range(1, 16));
  sub->add_flag("--retrieval-only", ask.retrieval_only, "Find passages, generate nothing");
  sub->add_flag("--passages", ask.show_passages, "Show the passages that were found");
  MaybeEnum(*sub, "--retrieval", "Find passages by: dense, text or hybrid", kRetrievals,
            [&](v1::Retrieval retrieval) { ask.retrieval = retrieval; });
  sub->add_option("--vector-name", ask.vector_name, "Compare with this vector of the points");
  AddFilter(*sub, ask.filter);
  AddPartition(*sub, ask.partition);
  AddTokens(*sub, ask.tokens);
  CLI::Option_group* constraint = AddConstraint(*sub, ask.constraint);
  AddOptional(*constraint, "--verbatim", ask.verbatim,
              "Answer with a sentence of the passages, word for word (true), or freely (false); "
              "default: as the daemon does");
  AddSampling(*sub, &ask.sampling);
  sub->callback([&] { options.command = ask; });
}

void AddRerank(CLI::App& app, Options& options, RerankOptions& rerank) {
  CLI::App* sub = app.add_subcommand("rerank", "Order documents by how well they answer a query");
  Need(*sub, "QUERY", rerank.query, "The query; - reads standard input");
  Need(*sub, "DOCUMENTS", rerank.documents_file,
       "File with a document on each line; - reads standard input");
  sub->add_option("--model", rerank.model, "Reranker or embedding model; default: the daemon's");
  AddOptional(*sub, "--top", rerank.top_n, "Show the best so many")->check(CLI::Range(1, 1'024));
  sub->callback([&] {
    if (rerank.query == "-" && rerank.documents_file == "-") {
      throw CLI::ValidationError("QUERY and DOCUMENTS", "standard input can be only one of them");
    }
    options.command = rerank;
  });
}

void AddGenerate(CLI::App& app, Options& options, GenerateOptions& generate) {
  CLI::App* sub = app.add_subcommand("generate", "Continue a prompt");
  Need(*sub, "PROMPT", generate.prompt, "The prompt; - reads standard input");
  sub->add_option("--model", generate.model, "Language model; default: the daemon's");
  CLI::Option* const chat = sub->add_flag(
      "--chat", generate.chat, "The prompt is a user's message, for the model's chat template");
  AddOptional(*sub, "--system", generate.system, "A system's message before it")->needs(chat);
  sub->add_option("--template-arguments", generate.template_arguments,
                  "JSON object of the template's variables, as {\"enable_thinking\": false}")
      ->needs(chat);
  AddOptional(*sub, "--max-tokens", generate.max_tokens, "Stop after this many tokens")
      ->check(CLI::Range(1, INT32_MAX));
  sub->add_flag("--ignore-eos", generate.ignore_eos, "Go on past the end-of-text token");
  AddTokens(*sub, generate.tokens);
  AddOptional(*sub, "-n,--completions", generate.completions, "Continue it so many times")
      ->check(CLI::Range(1, 16));
  sub->add_flag("--echo", generate.echo, "Show the prompt, too");
  AddConstraint(*sub, generate.constraint);
  AddSampling(*sub, &generate.sampling);
  sub->callback([&] { options.command = generate; });
}

void AddModels(CLI::App& app, Options& options, Commands& commands) {
  app.add_subcommand("models", "The models, those that come and go too")->callback([&] {
    options.command = ModelsOptions{};
  });
  CLI::App* load = app.add_subcommand("load", "Load a model while the daemon runs");
  Need(*load, "NAME", commands.load.name, "Its name");
  Need(*load, "FILE", commands.load.path, "GGUF file within the daemon's repository.directory");
  load->add_option("--question-prefix", commands.load.question_prefix,
                   "Of an embedding model: what goes before questions");
  load->add_option("--passage-prefix", commands.load.passage_prefix,
                   "Of an embedding model: what goes before passages");
  load->callback([&] { options.command = commands.load; });
  CLI::App* unload = app.add_subcommand("unload", "Unload a model, and free its memory");
  Need(*unload, "NAME", commands.unload.name, "Model");
  AddOptional(*unload, "--drain", commands.unload.drain_timeout_s,
              "Seconds that running requests get, default 30")
      ->check(CLI::Range(0.0, 3600.0));
  unload->callback([&] { options.command = commands.unload; });
}

void AddPower(CLI::App& app, Options& options, PowerOptions& power) {
  CLI::App* sub = app.add_subcommand("power", "Show what the devices draw, or set the power mode");
  MaybeEnum(*sub, "MODE", "standby, normal or peak", kPowerModes,
            [&power](v1::PowerMode mode) { power.mode = mode; });
  sub->callback([&] { options.command = power; });
}

void AddExplain(CLI::App& app, Options& options, ExplainOptions& explain) {
  CLI::App* sub = app.add_subcommand(
      "explain", "Say how a request would be classified and routed now, and execute nothing");
  MaybeEnum(*sub, "--kind", "generate, embed, search, upsert, cluster, rerank or ask (default)",
            kKinds, [&explain](v1::ExplainRequest::Kind kind) { explain.kind = kind; });
  AddOptional(*sub, "--items", explain.items, "How many queries, texts or points")
      ->check(CLI::Range(1, 1'000'000));
  sub->callback([&] { options.command = explain; });
}

void AddPlan(CLI::App& app, Options& options, PlanOptions& plan) {
  CLI::App* sub = app.add_subcommand(
      "plan", "Say what devices would make of a workload, and cost; asks no daemon");
  Need(*sub, "--workload", plan.workload_file, "YAML file: the requests, their stages and SLAs");
  Need(*sub, "--devices", plan.devices_file, "YAML file: the devices, their times, power, prices");
  sub->callback([&] { options.command = plan; });
}

void AddToken(CLI::App& app, Options& options, MakeTokenOptions& token) {
  CLI::App* sub = app.add_subcommand(
      "token", "Make a bearer token for the daemon's server.access.tokens; asks no daemon");
  Need(*sub, "NAME", token.name, "Whose it is; shown in messages");
  Need(*sub, "--scopes", token.scopes, "What it allows: some of read,write,generate,admin");
  AddOptional(*sub, "--rate", token.rate, "Requests a second at most")->check(CLI::PositiveNumber);
  AddOptional(*sub, "--burst", token.burst, "So many of them at once; default: those of a second")
      ->check(CLI::PositiveNumber);
  AddOptional(*sub, "--concurrency", token.concurrency, "Requests running at most")
      ->check(CLI::PositiveNumber);
  AddOptional(*sub, "--expires", token.expires, "When it ends, as 2027-01-31T00:00:00Z");
  sub->add_option("--file", token.file, "Add its line to this file");
  sub->callback([&] { options.command = token; });
}

void AddDoctor(CLI::App& app, Options& options, DoctorOptions& doctor) {
  CLI::App* sub = app.add_subcommand(
      "doctor", "Say what is wrong with this machine, a configuration and the daemon");
  sub->add_option("--config", doctor.config_file, "The daemon's configuration, to be checked, too");
  sub->callback([&] { options.command = doctor; });
}

void AddTop(CLI::App& app, Options& options, TopOptions& top) {
  CLI::App* sub =
      app.add_subcommand("top", "Devices, models and collections as they are, again and again");
  sub->add_option("--interval", top.interval_s, "Seconds between two looks")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 3600.0));
  sub->add_option("--count", top.count, "Look so often; default: until interrupted")
      ->check(CLI::Range(int64_t{1}, int64_t{1'000'000'000}));
  sub->callback([&] { options.command = top; });
}

}  // namespace

std::optional<Options> ParseFlags(int argc, const char* const* argv, std::ostream& out,
                                  std::ostream& err, int& exit_code) {
  Options options;
  Commands commands;
  CLI::App app{"batonctl: talk to a Baton daemon."};
  app.name("batonctl");
  app.require_subcommand(1);
  app.fallthrough();  // global flags may follow the subcommand
  AddGlobal(app, options);
  AddIngest(app, options, commands.ingest);
  AddImport(app, options, commands.import);
  AddAsk(app, options, commands.ask);
  AddPointCommands(app, options, commands);
  AddRerank(app, options, commands.rerank);
  AddGenerate(app, options, commands.generate);
  AddModels(app, options, commands);
  app.add_subcommand("devices", "Every executor: present, or absent and why")->callback([&] {
    options.command = DevicesOptions{};
  });
  app.add_subcommand("calibrate", "Learn what work takes on each executor, by doing some")
      ->callback([&] { options.command = CalibrateOptions{}; });
  AddPower(app, options, commands.power);
  AddExplain(app, options, commands.explain);
  AddPlan(app, options, commands.plan);
  AddToken(app, options, commands.token);
  AddDoctor(app, options, commands.doctor);
  AddTop(app, options, commands.top);
  AddCollectionCommands(app, options, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error, out, err) == 0 ? 0 : kExitUsage;
    return std::nullopt;
  }
  return options;
}

}  // namespace baton::ctl
