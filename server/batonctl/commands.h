#pragma once

#include <string>

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
int RunAsk(Session& session, const AskOptions& ask);
int RunSearch(Session& session, const SearchOptions& search);
int RunGenerate(Session& session, const GenerateOptions& generate);
int RunModels(Session& session);
int RunDevices(Session& session);
int RunExplain(Session& session, const ExplainOptions& explain);
int RunListCollections(Session& session);
int RunDescribeCollection(Session& session, const DescribeCollectionOptions& describe);
int RunDropCollection(Session& session, const DropCollectionOptions& drop);
int RunCreateCollection(Session& session, const CreateCollectionOptions& create);

// A text given on the command line, "-" being standard input. Must be UTF-8: protobuf would refuse
// it with less to say.
absl::StatusOr<std::string> ReadText(const std::string& argument, absl::string_view what);

// Prints a usage error that the flags alone could not show and returns kExitUsage.
int FailUsage(Terminal& terminal, const absl::Status& status);

}  // namespace baton::ctl
