#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <optional>
#include <string>

#include "server/batonctl/options.h"

// What the files that declare batonctl's flags share.
namespace baton::ctl {

inline const std::map<std::string, v1::Metric> kMetrics = {
    {"cosine", v1::METRIC_COSINE}, {"dot", v1::METRIC_DOT}, {"l2", v1::METRIC_L2}};

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
  MakeTokenOptions token;
  DoctorOptions doctor;
  TopOptions top;
  DescribeCollectionOptions describe;
  DropCollectionOptions drop;
  CreateSnapshotOptions create_snapshot;
  DeleteSnapshotOptions delete_snapshot;
  VerifySnapshotOptions verify_snapshot;
  CreateCollectionOptions create;
};

// Flags of many subcommands.
void AddFilter(CLI::App& app, std::string& filter);
void AddPartition(CLI::App& app, PartitionOptions& partition);

// Subcommands about points, and about collections, aliases and snapshots.
void AddPointCommands(CLI::App& app, Options& options, Commands& commands);
void AddCollectionCommands(CLI::App& app, Options& options, Commands& commands);

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

template <class T>
CLI::Option* AddOptional(CLI::App& app, const std::string& name, std::optional<T>& value,
                         const std::string& help) {
  return Maybe<T>(app, name, help, [&value](T given) { value = given; });
}

}  // namespace baton::ctl
