// models, load, unload: which models the daemon has.
#include "absl/strings/str_cat.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

std::string CountOrDash(int64_t count) { return count == 0 ? "-" : absl::StrCat(count); }

void PrintModels(std::ostream& out, const v1::ListModelsResponse& response) {
  Table table({"model", "state", "kind", "architecture", ">parameters", ">weights", ">memory",
               ">context", ">vocabulary", ">dimension", "file"});
  for (const v1::Model& model : response.models()) {
    table.AddRow({model.name(), EnumWord(v1::Model::State_Name(model.state()), "STATE_"),
                  EnumWord(v1::Model::Kind_Name(model.kind()), "KIND_"), model.architecture(),
                  CountOrDash(model.parameters()), FormatBytesOrDash(model.weight_bytes()),
                  FormatBytesOrDash(model.memory_bytes()), CountOrDash(model.context_tokens()),
                  CountOrDash(model.vocabulary()), CountOrDash(model.embedding_dimension()),
                  model.path()});
  }
  table.Print(out);
  for (const v1::Model& model : response.models()) {
    if (!model.detail().empty()) {
      out << Printable(model.name()) << ": " << Printable(model.detail()) << "\n";
    }
  }
}

// `what`: what was done to it.
int PrintModel(Session& session, const google::protobuf::Message& response, const v1::Model& model,
               absl::string_view what) {
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << Printable(model.name()) << ": " << what << ", "
                         << FormatBytes(model.memory_bytes()) << "\n";
  }
  return kExitOk;
}

}  // namespace

int RunModels(Session& session) {
  v1::ListModelsResponse response;
  const grpc::Status status =
      session.client.inference().ListModels(session.client.NewContext().get(), {}, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintModels(session.terminal.out, response);
  }
  return kExitOk;
}

int RunLoad(Session& session, const LoadOptions& load) {
  v1::LoadModelRequest request;
  request.set_name(load.name);
  request.set_path(load.path);
  request.set_question_prefix(load.question_prefix);
  request.set_passage_prefix(load.passage_prefix);
  v1::LoadModelResponse response;
  const grpc::Status status =
      session.client.admin().LoadModel(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  return PrintModel(session, response, response.model(), "loaded");
}

int RunUnload(Session& session, const UnloadOptions& unload) {
  v1::UnloadModelRequest request;
  request.set_name(unload.name);
  if (unload.drain_timeout_s) {
    request.set_drain_timeout_s(*unload.drain_timeout_s);
  }
  v1::UnloadModelResponse response;
  const grpc::Status status =
      session.client.admin().UnloadModel(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status, {.model = unload.name});
  }
  return PrintModel(session, response, response.model(), "unloaded");
}

}  // namespace baton::ctl
