#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "server/batonctl/client.h"
#include "server/batonctl/options.h"

// The subcommands. Each talks to the daemon, prints, and returns the exit code.
namespace baton::ctl {

// What every subcommand has at hand.
struct Session {
  const Options& options;
  Client& client;
  Terminal& terminal;
};

int RunIngest(Session& session, const IngestOptions& ingest);
int RunImport(Session& session, const ImportOptions& import);
int RunAsk(Session& session, const AskOptions& ask);
int RunSearch(Session& session, const SearchOptions& search);
int RunCluster(Session& session, const ClusterOptions& cluster);
int RunRerank(Session& session, const RerankOptions& rerank);
int RunGenerate(Session& session, const GenerateOptions& generate);
int RunModels(Session& session);
int RunLoad(Session& session, const LoadOptions& load);
int RunUnload(Session& session, const UnloadOptions& unload);
int RunDevices(Session& session);
int RunCalibrate(Session& session);
int RunPower(Session& session, const PowerOptions& power);
int RunExplain(Session& session, const ExplainOptions& explain);
int RunPlan(Session& session, const PlanOptions& options);
int RunDoctor(Session& session, const DoctorOptions& doctor);
int RunTop(Session& session, const TopOptions& top);
int RunToken(const Options& options, Terminal& terminal, const MakeTokenOptions& make);
int RunListCollections(Session& session);
int RunDescribeCollection(Session& session, const DescribeCollectionOptions& describe);
int RunDropCollection(Session& session, const DropCollectionOptions& drop);
int RunListAliases(Session& session, const ListAliasesOptions& list);
int RunUpdateAliases(Session& session, const UpdateAliasesOptions& update);
int RunCreateCollection(Session& session, const CreateCollectionOptions& create);
int RunListSnapshots(Session& session);
int RunCreateSnapshot(Session& session, const CreateSnapshotOptions& create);
int RunDeleteSnapshot(Session& session, const DeleteSnapshotOptions& deletion);
int RunVerifySnapshot(Session& session, const VerifySnapshotOptions& verify);
int RunCreateIndex(Session& session, const CreateIndexOptions& create);
int RunDropIndex(Session& session, const DropIndexOptions& drop);
int RunCount(Session& session, const CountOptions& count);
int RunScroll(Session& session, const ScrollOptions& scroll);
int RunFacet(Session& session, const FacetOptions& facet);
int RunDeletePoints(Session& session, const DeletePointsOptions& points);
int RunPatch(Session& session, const PatchOptions& patch);

// A text given on the command line, "-" being standard input. Must be UTF-8: protobuf would refuse
// it with less to say.
absl::StatusOr<std::string> ReadText(const std::string& argument, absl::string_view what);

// A file's text, which must be UTF-8, too.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, absl::string_view what);

// `request`: anything that has a partition.
template <class Request>
void SetPartition(const PartitionOptions& partition, Request& request) {
  request.set_partition(partition.name);
  request.set_all_partitions(partition.all);
}

// Sets what the text of a GenerateRequest or AskRequest must look like, from the files named.
template <class Request>
absl::Status SetConstraint(const ConstraintOptions& constraint, Request& request) {
  if (!constraint.grammar_file.empty()) {
    auto grammar = ReadTextFile(constraint.grammar_file, "grammar");
    if (!grammar.ok()) return grammar.status();
    request.set_grammar(*std::move(grammar));
  } else if (!constraint.json_schema_file.empty()) {
    auto schema = ReadTextFile(constraint.json_schema_file, "JSON schema");
    if (!schema.ok()) return schema.status();
    request.set_json_schema(*std::move(schema));
  } else if (constraint.json_object) {
    request.set_json_object(true);
  }
  return absl::OkStatus();
}

// Sets what ends that text, and what is told of its tokens.
template <class Request>
void SetTokens(const TokenOptions& tokens, Request& request) {
  for (const std::string& stop : tokens.stop) request.add_stop(stop);
  for (const int32_t token : tokens.stop_tokens) request.add_stop_token_ids(token);
  request.set_include_stop(tokens.include_stop);
  if (tokens.min_tokens) request.set_min_tokens(*tokens.min_tokens);
  if (tokens.logprobs) request.set_logprobs(*tokens.logprobs);
}

// Prints a usage error that the flags alone could not show and returns kExitUsage.
int FailUsage(Terminal& terminal, const absl::Status& status);

}  // namespace baton::ctl
