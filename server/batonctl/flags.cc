#include "server/batonctl/flags.h"

#include <CLI/CLI.hpp>
#include <cmath>
#include <map>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "server/batonctl/exit_codes.h"

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
const std::map<std::string, v1::Metric> kMetrics = {
    {"cosine", v1::METRIC_COSINE}, {"dot", v1::METRIC_DOT}, {"l2", v1::METRIC_L2}};
const std::map<std::string, v1::IndexKind> kIndexKinds = {{"hnsw", v1::INDEX_KIND_HNSW},
                                                          {"ivf_pq", v1::INDEX_KIND_IVF_PQ},
                                                          {"ivf_sq", v1::INDEX_KIND_IVF_SQ}};
const std::map<std::string, v1::FusionKind> kFusions = {{"rrf", v1::FUSION_KIND_RECIPROCAL_RANK},
                                                        {"weighted", v1::FUSION_KIND_WEIGHTED}};
const std::map<std::string, v1::Retrieval> kRetrievals = {
    {"dense", v1::RETRIEVAL_DENSE}, {"text", v1::RETRIEVAL_TEXT}, {"hybrid", v1::RETRIEVAL_HYBRID}};
const std::map<std::string, v1::VectorStorage> kStorages = {{"f32", v1::VECTOR_STORAGE_F32},
                                                            {"f16", v1::VECTOR_STORAGE_F16},
                                                            {"bf16", v1::VECTOR_STORAGE_BF16},
                                                            {"int8", v1::VECTOR_STORAGE_INT8}};
const std::map<std::string, v1::PayloadIndexKind> kPayloadIndexKinds = {
    {"keyword", v1::PAYLOAD_INDEX_KIND_KEYWORD},   {"integer", v1::PAYLOAD_INDEX_KIND_INTEGER},
    {"number", v1::PAYLOAD_INDEX_KIND_NUMBER},     {"boolean", v1::PAYLOAD_INDEX_KIND_BOOLEAN},
    {"datetime", v1::PAYLOAD_INDEX_KIND_DATETIME}, {"text", v1::PAYLOAD_INDEX_KIND_TEXT}};
const std::map<std::string, v1::ExplainRequest::Kind> kKinds = {
    {"generate", v1::ExplainRequest::GENERATE}, {"embed", v1::ExplainRequest::EMBED},
    {"search", v1::ExplainRequest::SEARCH},     {"upsert", v1::ExplainRequest::UPSERT},
    {"ask", v1::ExplainRequest::ASK},           {"rerank", v1::ExplainRequest::RERANK},
    {"cluster", v1::ExplainRequest::CLUSTER}};

template <class T>
void Need(CLI::App& app, const std::string& name, T& value, const std::string& help) {
  app.add_option(name, value, help)->required();
}

// An option whose absence is not a value: `set` is called only where it is given.
template <class T, class Set>
CLI::Option* Maybe(CLI::App& app, const std::string& name, const std::string& help, Set set) {
  return app.add_option_function<T>(
      name, [set](const T& value) { set(value); }, help);
}

template <class E, class Set>
void MaybeEnum(CLI::App& app, const std::string& name, const std::string& help,
               const std::map<std::string, E>& names, Set set) {
  Maybe<std::string>(app, name, help, [&names, set](const std::string& text) {
    set(names.at(text));
  })->check(CLI::IsMember(names));
}

void AddGlobal(CLI::App& app, Options& options) {
  app.add_option("--server", options.server, "Address of the daemon, host:port")
      ->capture_default_str();
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

template <class T>
CLI::Option* AddOptional(CLI::App& app, const std::string& name, std::optional<T>& value,
                         const std::string& help) {
  return Maybe<T>(app, name, help, [&value](T given) { value = given; });
}

void AddFilter(CLI::App& app, std::string& filter) {
  app.add_option("--filter", filter,
                 "Only points that match: a Filter of vector.proto in JSON, e.g. "
                 "{\"must\": [{\"field\": \"color\", \"match\": {\"text\": \"red\"}}]}");
}

void AddPartition(CLI::App& app, PartitionOptions& partition) {
  auto* name = app.add_option("--partition", partition.name, "Only points of this partition");
  app.add_flag("--all-partitions", partition.all, "The points of all partitions")->excludes(name);
}

// What is wrong with the text as a point's id; nothing where it looks like one.
std::string CheckPointId(const std::string& text) {
  const bool number = !text.empty() && text.size() <= 20 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  const bool uuid = text.size() >= 32 && text.size() <= 45;
  return number || uuid ? "" : text + " is neither a whole number nor a UUID";
}

void AddConstraint(CLI::App& app, ConstraintOptions& constraint) {
  auto* group = app.add_option_group("constraint");
  group->add_option("--grammar", constraint.grammar_file,
                    "File with a grammar (GBNF) that the text must match");
  group->add_option("--json-schema", constraint.json_schema_file,
                    "File with a JSON schema; the text is a document of it");
  group->add_flag("--json-object", constraint.json_object, "The text is a JSON object");
  group->require_option(0, 1);
}

// The options of every subcommand: CLI11 fills them all, the chosen one is kept.
struct Commands {
  IngestOptions ingest;
  ImportOptions import;
  AskOptions ask;
  SearchOptions search;
  ClusterOptions cluster;
  CountOptions count;
  ScrollOptions scroll;
  FacetOptions facet;
  DeletePointsOptions delete_points;
  PatchOptions patch;
  ListAliasesOptions list_aliases;
  UpdateAliasesOptions update_aliases;
  CreateIndexOptions create_index;
  DropIndexOptions drop_index;
  RerankOptions rerank;
  GenerateOptions generate;
  LoadOptions load;
  UnloadOptions unload;
  PowerOptions power;
  ExplainOptions explain;
  PlanOptions plan;
  DescribeCollectionOptions describe;
  DropCollectionOptions drop;
  CreateSnapshotOptions create_snapshot;
  DeleteSnapshotOptions delete_snapshot;
  VerifySnapshotOptions verify_snapshot;
  CreateCollectionOptions create;
};

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
  sub->add_flag("--retrieval-only", ask.retrieval_only, "Find passages, generate nothing");
  sub->add_flag("--passages", ask.show_passages, "Show the passages that were found");
  MaybeEnum(*sub, "--retrieval", "Find passages by: dense, text or hybrid", kRetrievals,
            [&](v1::Retrieval retrieval) { ask.retrieval = retrieval; });
  sub->add_option("--vector-name", ask.vector_name, "Compare with this vector of the points");
  AddFilter(*sub, ask.filter);
  AddPartition(*sub, ask.partition);
  AddConstraint(*sub, ask.constraint);
  AddSampling(*sub, &ask.sampling);
  sub->callback([&] { options.command = ask; });
}

void AddSearch(CLI::App& app, Options& options, SearchOptions& search) {
  CLI::App* sub =
      app.add_subcommand("search", "Find points by a text's meaning, a vector or words");
  Need(*sub, "--collection,-c", search.collection, "Collection");
  auto* query = sub->add_option_group("query");
  auto* text = query->add_option("--text", search.text, "Text to embed");
  query->add_option("--vector", search.vector, "Numbers, comma separated")->excludes(text);
  query->add_option("--words", search.words, "Words to look for, beside these or alone");
  query->require_option(1, 2);
  sub->add_option_function<std::string>(
      "--field", [&](const std::string& name) { search.word_query.set_field(name); },
      "Where to look for --words; default: the only text index");
  Maybe<double>(*sub, "--k1", "How much further occurrences of a word count", [&](double k1) {
    search.word_query.set_k1(k1);
  })->check(CLI::Range(0.0, 100.0));
  Maybe<double>(*sub, "--b", "How much long texts count less", [&](double b) {
    search.word_query.set_b(b);
  })->check(CLI::Range(0.0, 1.0));
  MaybeEnum(*sub, "--fusion", "Of vector and words: rrf (default) or weighted", kFusions,
            [&](v1::FusionKind kind) { search.fusion.set_kind(kind); });
  Maybe<double>(*sub, "--dense-weight", "Of the vector, in the fusion", [&](double weight) {
    search.fusion.set_dense_weight(weight);
  })->check(CLI::Range(0.0, 1e6));
  Maybe<double>(*sub, "--text-weight", "Of the words, in the fusion", [&](double weight) {
    search.fusion.set_text_weight(weight);
  })->check(CLI::Range(0.0, 1e6));
  Maybe<int32_t>(*sub, "--candidates", "Points by vector and by words that are fused",
                 [&](int32_t n) { search.fusion.set_candidates(n); })
      ->check(CLI::Range(1, 10'000));
  sub->add_option("--vector-name", search.vector_name, "Compare with this vector of the points");
  sub->add_option("--model", search.model, "Embedder for --text; default: the collection's");
  sub->add_option("-k,--k", search.k, "Points to find")
      ->capture_default_str()
      ->check(CLI::Range(1, 10'000));
  sub->add_flag("--exact", search.exact, "Compare with every point");
  AddOptional(*sub, "--ef", search.ef, "Candidates the graph walk keeps")
      ->check(CLI::Range(1, 100'000));
  AddOptional(*sub, "--recall", search.recall_target, "Instead: share of the nearest to find")
      ->check(CLI::Range(0.5, 0.999))
      ->excludes("--ef");
  AddOptional(*sub, "--nprobe", search.nprobe, "Lists of an inverted file to look at")
      ->check(CLI::Range(1, 65'536));
  AddFilter(*sub, search.filter);
  AddPartition(*sub, search.partition);
  AddOptional(*sub, "--threshold", search.score_threshold, "Only points with this score or better");
  AddOptional(*sub, "--offset", search.offset, "Leave out so many of the nearest")
      ->check(CLI::Range(0, 10'000));
  auto* range = sub->add_flag("--range", search.range, "All points within --threshold, not k");
  range->needs("--threshold")->excludes("--words")->excludes("--offset")->excludes("--k");
  AddOptional(*sub, "--limit", search.limit, "Of these, at most so many")
      ->check(CLI::Range(1, 100'000))
      ->needs(range);
  sub->add_flag("--allow-partial", search.allow_partial,
                "Leave out what a damaged file keeps from being searched, and say how much");
  sub->add_option("--group-by", search.group_by, "Find k values of this field, and their points");
  AddOptional(*sub, "--group-size", search.group_size, "Points of each value")
      ->check(CLI::Range(1, 100));
  sub->callback([&] { options.command = search; });
}

void AddPoints(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* count = app.add_subcommand("count", "Count points");
  Need(*count, "--collection,-c", commands.count.collection, "Collection");
  AddFilter(*count, commands.count.filter);
  AddPartition(*count, commands.count.partition);
  count->callback([&] { options.command = commands.count; });

  CLI::App* scroll = app.add_subcommand("scroll", "List points by id, page by page");
  Need(*scroll, "--collection,-c", commands.scroll.collection, "Collection");
  AddFilter(*scroll, commands.scroll.filter);
  AddPartition(*scroll, commands.scroll.partition);
  AddOptional(*scroll, "--limit", commands.scroll.limit, "Points on a page")
      ->check(CLI::Range(1, 10'000));
  scroll->add_option("--offset", commands.scroll.offset, "The page before says it");
  scroll->callback([&] { options.command = commands.scroll; });

  CLI::App* facet = app.add_subcommand("facet", "The most frequent values of an indexed field");
  Need(*facet, "FIELD", commands.facet.field, "Field of the payload");
  Need(*facet, "--collection,-c", commands.facet.collection, "Collection");
  AddFilter(*facet, commands.facet.filter);
  AddPartition(*facet, commands.facet.partition);
  AddOptional(*facet, "--limit", commands.facet.limit, "Values")->check(CLI::Range(1, 10'000));
  facet->callback([&] { options.command = commands.facet; });

  CLI::App* remove = app.add_subcommand("delete", "Delete points by id or filter");
  Need(*remove, "--collection,-c", commands.delete_points.collection, "Collection");
  auto* which = remove->add_option_group("points");
  which->add_option("ID", commands.delete_points.ids, "Points: numbers or UUIDs")
      ->check(CheckPointId);
  AddFilter(*which, commands.delete_points.filter);
  which->get_option("--filter")->excludes("ID");
  which
      ->add_option("--partition", commands.delete_points.partition.name,
                   "Only points of this partition")
      ->excludes("ID");
  which->require_option(1, 2);
  remove->add_flag("--all-partitions", commands.delete_points.partition.all,
                   "The points of all partitions");
  remove->callback([&] { options.command = commands.delete_points; });

  CLI::App* patch = app.add_subcommand("patch", "Set and delete keys of payloads");
  Need(*patch, "--collection,-c", commands.patch.collection, "Collection");
  which = patch->add_option_group("points");
  which->add_option("ID", commands.patch.ids, "Points: numbers or UUIDs")->check(CheckPointId);
  AddFilter(*which, commands.patch.filter);
  which->get_option("--filter")->excludes("ID");
  which->add_option("--partition", commands.patch.partition.name, "Only points of this partition")
      ->excludes("ID");
  which->require_option(1, 2);
  patch->add_flag("--all-partitions", commands.patch.partition.all, "The points of all partitions");
  patch->add_flag("--clear", commands.patch.clear, "First, delete all keys");
  patch->add_option("--delete-key", commands.patch.delete_keys, "Then delete these");
  patch->add_option("--set", commands.patch.set, "Then set these: a JSON object");
  patch->callback([&] { options.command = commands.patch; });

  CLI::App* index = app.add_subcommand("index", "Create or drop the index of a payload's field");
  index->require_subcommand(1);
  index->fallthrough();
  CLI::App* create = index->add_subcommand("create", "Index a field, which filters on it need");
  Need(*create, "FIELD", commands.create_index.field, "Field of the payload");
  Need(*create, "--collection,-c", commands.create_index.collection, "Collection");
  MaybeEnum(*create, "--kind", "keyword (default), integer, number, boolean, datetime or text",
            kPayloadIndexKinds,
            [&commands](v1::PayloadIndexKind kind) { commands.create_index.kind = kind; });
  create->callback([&] { options.command = commands.create_index; });
  CLI::App* drop = index->add_subcommand("drop", "Drop the index of a field");
  Need(*drop, "FIELD", commands.drop_index.field, "Field of the payload");
  Need(*drop, "--collection,-c", commands.drop_index.collection, "Collection");
  drop->callback([&] { options.command = commands.drop_index; });
}

void AddCluster(CLI::App& app, Options& options, ClusterOptions& cluster) {
  CLI::App* sub = app.add_subcommand("cluster", "Group a collection's points by k-means");
  Need(*sub, "--collection,-c", cluster.collection, "Collection");
  sub->add_option("-k,--k", cluster.k, "Clusters")->required()->check(CLI::Range(1, 65'536));
  AddOptional(*sub, "--iterations", cluster.iterations, "Turns of the algorithm")
      ->check(CLI::Range(1, 1'000));
  AddOptional(*sub, "--seed", cluster.seed, "Of the points it begins with")
      ->check(CLI::Range(0, INT32_MAX));
  MaybeEnum(*sub, "--metric", "cosine, dot or l2; default: the collection's", kMetrics,
            [&cluster](v1::Metric metric) { cluster.metric = metric; });
  sub->add_option("--vector-name", cluster.vector_name, "Of this vector of the points");
  sub->add_flag("--all-partitions", cluster.all_partitions, "The points of all partitions");
  sub->add_flag("--assignment", cluster.assignment, "Print the cluster of each point, too");
  sub->callback([&] { options.command = cluster; });
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
  sub->add_option("--stop", generate.stop, "End before this text; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  sub->add_option("--stop-token", generate.stop_tokens, "End before this token; may be repeated")
      ->allow_extra_args(false)
      ->take_all();
  sub->add_flag("--include-stop", generate.include_stop, "End behind them instead");
  AddOptional(*sub, "--min-tokens", generate.min_tokens, "Do not end within so many tokens")
      ->check(CLI::Range(0, INT32_MAX));
  AddOptional(*sub, "--logprobs", generate.logprobs,
              "Show log probabilities, of so many alternatives to each token too")
      ->check(CLI::Range(0, 20));
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

// "NAME:DIM[:METRIC[:STORAGE[:INDEX]]]", as its field `vectors`.
void AddNamedVector(const std::string& text, v1::CollectionSpec& spec) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  const auto fail = [&text](const std::string& what) {
    throw CLI::ValidationError("--vector", what + " in " + text);
  };
  v1::NamedVectorSpec& vector = *spec.add_vectors();
  vector.set_name(parts[0]);
  int32_t dimension = 0;
  if (parts.size() < 2 || parts.size() > 5 || !absl::SimpleAtoi(parts[1], &dimension)) {
    fail("there must be NAME:DIM[:METRIC[:STORAGE[:INDEX]]]");
  }
  vector.set_dimension(dimension);
  const auto value_of = [&](const auto& names, size_t part) {
    const auto found = names.find(parts[part]);
    if (found == names.end()) fail("\"" + parts[part] + "\" is not known");
    return found->second;
  };
  if (parts.size() > 2) vector.set_metric(value_of(kMetrics, 2));
  if (parts.size() > 3) vector.set_storage(value_of(kStorages, 3));
  if (parts.size() > 4) vector.set_index(value_of(kIndexKinds, 4));
}

void AddPlan(CLI::App& app, Options& options, PlanOptions& plan) {
  CLI::App* sub = app.add_subcommand(
      "plan", "Say what devices would make of a workload, and cost; asks no daemon");
  Need(*sub, "--workload", plan.workload_file, "YAML file: the requests, their stages and SLAs");
  Need(*sub, "--devices", plan.devices_file, "YAML file: the devices, their times, power, prices");
  sub->callback([&] { options.command = plan; });
}

void AddCollections(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group = app.add_subcommand("collections", "List (default), describe, create, drop");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListCollectionsOptions{};
    }
  });
  group->add_subcommand("list", "All collections")->callback([&] {
    options.command = ListCollectionsOptions{};
  });

  CLI::App* describe = group->add_subcommand("describe", "One collection");
  Need(*describe, "NAME", commands.describe.name, "Collection");
  describe->callback([&] { options.command = commands.describe; });

  CLI::App* drop = group->add_subcommand("drop", "Delete a collection and all its points");
  Need(*drop, "NAME", commands.drop.name, "Collection");
  drop->callback([&] { options.command = commands.drop; });

  CLI::App* create = group->add_subcommand("create", "Make an empty collection");
  v1::CollectionSpec* spec = &commands.create.spec;
  Maybe<std::string>(*create, "NAME", "Collection", [spec](const std::string& name) {
    spec->set_name(name);
  })->required();
  auto* dimension =
      Maybe<int32_t>(*create, "--dim", "Length of every unnamed vector", [spec](int32_t dim) {
        spec->set_dimension(dim);
      })->check(CLI::Range(1, 65'536));
  auto* named = Maybe<std::vector<std::string>>(
      *create, "--vector",
      "NAME:DIM[:METRIC[:STORAGE[:INDEX]]]: a vector beside the unnamed one, or instead of it",
      [spec](const auto& texts) {
        for (const std::string& text : texts) AddNamedVector(text, *spec);
      });
  Maybe<std::string>(*create, "--partition-key", "A field that says whose a point is",
                     [spec](const std::string& field) { spec->set_partition_key(field); });
  MaybeEnum(*create, "--metric", "cosine (default), dot or l2", kMetrics,
            [spec](v1::Metric metric) { spec->set_metric(metric); });
  Maybe<int32_t>(*create, "--hnsw-m", "Graph degree", [spec](int32_t m) {
    spec->set_hnsw_m(m);
  })->check(CLI::Range(2, 128));
  Maybe<int32_t>(*create, "--ef-construction", "Candidates per insertion", [spec](int32_t ef) {
    spec->set_hnsw_ef_construction(ef);
  })->check(CLI::Range(8, 4'096));
  MaybeEnum(*create, "--index", "hnsw (default); ivf_pq or ivf_sq, which take less memory",
            kIndexKinds, [spec](v1::IndexKind index) { spec->set_index(index); });
  Maybe<int32_t>(*create, "--ivf-lists", "Lists of a segment; default: by its size",
                 [spec](int32_t lists) { spec->set_ivf_lists(lists); })
      ->check(CLI::Range(1, 65'536));
  Maybe<int32_t>(*create, "--ivf-pq-bytes", "Bytes of a code; default: by the dimension",
                 [spec](int32_t bytes) { spec->set_ivf_pq_bytes(bytes); })
      ->check(CLI::Range(1, 256));
  MaybeEnum(*create, "--storage", "Of each value: f32 (default), f16, bf16 or int8", kStorages,
            [spec](v1::VectorStorage storage) { spec->set_storage(storage); });
  create->callback([&options, &commands, dimension, named] {
    if (dimension->empty() && named->empty()) throw CLI::RequiredError("--dim or --vector");
    options.command = commands.create;
  });
}

void AddAliases(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group = app.add_subcommand("alias", "List (default), set, rename, delete aliases");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListAliasesOptions{};
    }
  });
  CLI::App* list = group->add_subcommand("list", "All aliases");
  list->add_option("--collection,-c", commands.list_aliases.collection, "Only of this one");
  list->callback([&] { options.command = commands.list_aliases; });

  v1::UpdateAliasesRequest* request = &commands.update_aliases.request;
  CLI::App* set = group->add_subcommand("set", "Make aliases, or switch them: all at once");
  Maybe<std::vector<std::string>>(
      *set, "PAIRS", "ALIAS=COLLECTION: what each stands for",
      [request](const auto& pairs) {
        for (const std::string& pair : pairs) {
          const size_t equals = pair.find('=');
          if (equals == std::string::npos) {
            throw CLI::ValidationError("PAIRS", "there is no '=' in " + pair);
          }
          v1::CreateAlias& create = *request->add_actions()->mutable_create();
          create.set_alias(pair.substr(0, equals));
          create.set_collection(pair.substr(equals + 1));
        }
      })
      ->required();
  set->callback([&] { options.command = commands.update_aliases; });

  CLI::App* rename = group->add_subcommand("rename", "Rename an alias");
  Maybe<std::string>(*rename, "ALIAS", "Alias", [request](const std::string& alias) {
    request->add_actions()->mutable_rename()->set_alias(alias);
  })->required();
  Maybe<std::string>(*rename, "NEW", "Its new name", [request](const std::string& alias) {
    request->mutable_actions(0)->mutable_rename()->set_new_alias(alias);
  })->required();
  rename->callback([&] { options.command = commands.update_aliases; });

  CLI::App* remove = group->add_subcommand("delete", "Delete aliases, not their collections");
  Maybe<std::vector<std::string>>(*remove, "ALIAS", "Aliases", [request](const auto& aliases) {
    for (const std::string& alias : aliases) {
      request->add_actions()->mutable_delete_()->set_alias(alias);
    }
  })->required();
  remove->callback([&] { options.command = commands.update_aliases; });
}

void AddSnapshots(CLI::App& app, Options& options, Commands& commands) {
  CLI::App* group =
      app.add_subcommand("snapshot", "List (default), create, verify, delete snapshots");
  group->require_subcommand(0, 1);
  group->fallthrough();
  group->callback([&options, group] {
    if (group->get_subcommands().empty()) {
      options.command = ListSnapshotsOptions{};
    }
  });
  group->add_subcommand("list", "All snapshots")->callback([&] {
    options.command = ListSnapshotsOptions{};
  });

  CLI::App* create = group->add_subcommand("create", "Keep all collections as they are now");
  Need(*create, "NAME", commands.create_snapshot.name, "Snapshot");
  create->callback([&] { options.command = commands.create_snapshot; });

  CLI::App* verify = group->add_subcommand("verify", "Read everything and compare checksums");
  verify->add_option("NAME", commands.verify_snapshot.name, "Snapshot; default: the store itself");
  verify->callback([&] { options.command = commands.verify_snapshot; });

  CLI::App* deletion = group->add_subcommand("delete", "Delete a snapshot");
  Need(*deletion, "NAME", commands.delete_snapshot.name, "Snapshot");
  deletion->callback([&] { options.command = commands.delete_snapshot; });
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
  AddSearch(app, options, commands.search);
  AddCluster(app, options, commands.cluster);
  AddPoints(app, options, commands);
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
  AddCollections(app, options, commands);
  AddAliases(app, options, commands);
  AddSnapshots(app, options, commands);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit_code = app.exit(error, out, err) == 0 ? 0 : kExitUsage;
    return std::nullopt;
  }
  return options;
}

}  // namespace baton::ctl
