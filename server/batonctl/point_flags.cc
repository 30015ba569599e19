// The subcommands about a collection's points: search, count, scroll, facet, delete, patch, index,
// cluster.
#include "server/batonctl/flag_parts.h"

namespace baton::ctl {
namespace {

const std::map<std::string, v1::FusionKind> kFusions = {{"rrf", v1::FUSION_KIND_RECIPROCAL_RANK},
                                                        {"weighted", v1::FUSION_KIND_WEIGHTED}};
const std::map<std::string, v1::PayloadIndexKind> kPayloadIndexKinds = {
    {"keyword", v1::PAYLOAD_INDEX_KIND_KEYWORD},   {"integer", v1::PAYLOAD_INDEX_KIND_INTEGER},
    {"number", v1::PAYLOAD_INDEX_KIND_NUMBER},     {"boolean", v1::PAYLOAD_INDEX_KIND_BOOLEAN},
    {"datetime", v1::PAYLOAD_INDEX_KIND_DATETIME}, {"text", v1::PAYLOAD_INDEX_KIND_TEXT}};

// What is wrong with the text as a point's id; nothing where it looks like one.
std::string CheckPointId(const std::string& text) {
  const bool number = !text.empty() && text.size() <= 20 &&
                      text.find_first_not_of("0123456789") == std::string::npos;
  const bool uuid = text.size() >= 32 && text.size() <= 45;
  return number || uuid ? "" : text + " is neither a whole number nor a UUID";
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

}  // namespace

void AddFilter(CLI::App& app, std::string& filter) {
  app.add_option("--filter", filter,
                 "Only points that match: a Filter of vector.proto in JSON, e.g. "
                 "{\"must\": [{\"field\": \"color\", \"match\": {\"text\": \"red\"}}]}");
}

void AddPartition(CLI::App& app, PartitionOptions& partition) {
  auto* name = app.add_option("--partition", partition.name, "Only points of this partition");
  app.add_flag("--all-partitions", partition.all, "The points of all partitions")->excludes(name);
}

void AddPointCommands(CLI::App& app, Options& options, Commands& commands) {
  AddSearch(app, options, commands.search);
  AddCluster(app, options, commands.cluster);
  AddPoints(app, options, commands);
}

}  // namespace baton::ctl
