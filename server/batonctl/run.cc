#include "server/batonctl/run.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/flags.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

constexpr size_t kInputBytesMax = 4 << 20;  // the longest prompt a daemon takes

struct Dispatch {
  Session& session;
  int operator()(const IngestOptions& o) { return RunIngest(session, o); }
  int operator()(const ImportOptions& o) { return RunImport(session, o); }
  int operator()(const AskOptions& o) { return RunAsk(session, o); }
  int operator()(const SearchOptions& o) { return RunSearch(session, o); }
  int operator()(const ClusterOptions& o) { return RunCluster(session, o); }
  int operator()(const RerankOptions& o) { return RunRerank(session, o); }
  int operator()(const GenerateOptions& o) { return RunGenerate(session, o); }
  int operator()(const ModelsOptions&) { return RunModels(session); }
  int operator()(const LoadOptions& o) { return RunLoad(session, o); }
  int operator()(const UnloadOptions& o) { return RunUnload(session, o); }
  int operator()(const DevicesOptions&) { return RunDevices(session); }
  int operator()(const CalibrateOptions&) { return RunCalibrate(session); }
  int operator()(const PowerOptions& o) { return RunPower(session, o); }
  int operator()(const ExplainOptions& o) { return RunExplain(session, o); }
  int operator()(const PlanOptions& o) { return RunPlan(session, o); }
  int operator()(const MakeTokenOptions& o) {
    return RunToken(session.options, session.terminal, o);
  }
  int operator()(const DoctorOptions& o) { return RunDoctor(session, o); }
  int operator()(const TopOptions& o) { return RunTop(session, o); }
  int operator()(const ListCollectionsOptions&) { return RunListCollections(session); }
  int operator()(const DescribeCollectionOptions& o) { return RunDescribeCollection(session, o); }
  int operator()(const DropCollectionOptions& o) { return RunDropCollection(session, o); }
  int operator()(const CreateCollectionOptions& o) { return RunCreateCollection(session, o); }
  int operator()(const ListSnapshotsOptions&) { return RunListSnapshots(session); }
  int operator()(const CreateSnapshotOptions& o) { return RunCreateSnapshot(session, o); }
  int operator()(const DeleteSnapshotOptions& o) { return RunDeleteSnapshot(session, o); }
  int operator()(const VerifySnapshotOptions& o) { return RunVerifySnapshot(session, o); }
  int operator()(const ListAliasesOptions& o) { return RunListAliases(session, o); }
  int operator()(const UpdateAliasesOptions& o) { return RunUpdateAliases(session, o); }
  int operator()(const CreateIndexOptions& o) { return RunCreateIndex(session, o); }
  int operator()(const DropIndexOptions& o) { return RunDropIndex(session, o); }
  int operator()(const CountOptions& o) { return RunCount(session, o); }
  int operator()(const ScrollOptions& o) { return RunScroll(session, o); }
  int operator()(const FacetOptions& o) { return RunFacet(session, o); }
  int operator()(const DeletePointsOptions& o) { return RunDeletePoints(session, o); }
  int operator()(const PatchOptions& o) { return RunPatch(session, o); }
};

absl::StatusOr<std::string> CheckUtf8(std::string text, absl::string_view what) {
  if (const size_t at = FindInvalidUtf8(text); at != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrCat("the ", what, " is not UTF-8 at byte ", at));
  }
  return text;
}

absl::StatusOr<std::string> ReadStream(std::istream& stream, absl::string_view what) {
  std::string text;
  char buffer[1 << 16];
  while (text.size() <= kInputBytesMax && stream.read(buffer, sizeof(buffer)).gcount() > 0) {
    text.append(buffer, static_cast<size_t>(stream.gcount()));
  }
  if (stream.bad()) {
    return absl::InvalidArgumentError(absl::StrCat("the ", what, " cannot be read"));
  }
  if (text.size() > kInputBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("the ", what, " is longer than ", kInputBytesMax, " bytes"));
  }
  return CheckUtf8(std::move(text), what);
}

}  // namespace

int Run(int argc, const char* const* argv, Terminal terminal) {
  int exit_code = 0;
  const std::optional<Options> options =
      ParseFlags(argc, argv, terminal.out, terminal.err, exit_code);
  if (!options) {
    return exit_code;
  }
  const absl::StatusOr<Connection> connection = ReadConnection(options->connection);
  if (!connection.ok()) return FailUsage(terminal, connection.status());
  Client client(*options, *connection);
  Session session{*options, client, terminal};
  return std::visit(Dispatch{session}, options->command);
}

absl::StatusOr<std::string> ReadText(const std::string& argument, absl::string_view what) {
  return argument == "-" ? ReadStream(std::cin, what) : CheckUtf8(argument, what);
}

absl::StatusOr<std::string> ReadTextFile(const std::string& path, absl::string_view what) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read the ", what, " ", path, ": ", std::strerror(errno)));
  }
  return ReadStream(stream, absl::StrCat(what, " ", path));
}

int FailUsage(Terminal& terminal, const absl::Status& status) {
  terminal.err << "batonctl: " << status.message() << "\n";
  return kExitUsage;
}

}  // namespace baton::ctl
