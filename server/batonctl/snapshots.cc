#include <ctime>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/exit_codes.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

std::string TimeText(int64_t seconds) {
  const auto time = static_cast<std::time_t>(seconds);
  std::tm parts = {};
  char text[32];
  if (gmtime_r(&time, &parts) == nullptr) return "-";
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts)};
}

template <class Snapshots>
void PrintSnapshots(std::ostream& out, const Snapshots& snapshots) {
  Table table({"snapshot", "made (UTC)", ">last write", ">collections", ">bytes"});
  for (const v1::Snapshot& snapshot : snapshots) {
    table.AddRow({snapshot.name(), TimeText(snapshot.created_s()),
                  absl::StrCat(snapshot.sequence()), absl::StrCat(snapshot.collections()),
                  absl::StrCat(snapshot.bytes())});
  }
  table.Print(out);
}

}  // namespace

int RunCreateSnapshot(Session& session, const CreateSnapshotOptions& create) {
  v1::CreateSnapshotRequest request;
  request.set_name(create.name);
  v1::CreateSnapshotResponse response;
  const grpc::Status status =
      session.client.admin().CreateSnapshot(session.client.NewContext().get(), request, &response);
  if (!status.ok()) return session.client.Fail(session.terminal, status);
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintSnapshots(session.terminal.out, std::initializer_list<v1::Snapshot>{response.snapshot()});
  }
  return kExitOk;
}

int RunListSnapshots(Session& session) {
  v1::ListSnapshotsResponse response;
  const grpc::Status status =
      session.client.admin().ListSnapshots(session.client.NewContext().get(), {}, &response);
  if (!status.ok()) return session.client.Fail(session.terminal, status);
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else if (response.snapshots().empty()) {
    session.terminal.out << "no snapshots; batonctl snapshot create makes one\n";
  } else {
    PrintSnapshots(session.terminal.out, response.snapshots());
  }
  return kExitOk;
}

int RunDeleteSnapshot(Session& session, const DeleteSnapshotOptions& deletion) {
  v1::DeleteSnapshotRequest request;
  request.set_name(deletion.name);
  v1::DeleteSnapshotResponse response;
  const grpc::Status status =
      session.client.admin().DeleteSnapshot(session.client.NewContext().get(), request, &response);
  if (!status.ok()) return session.client.Fail(session.terminal, status);
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << "deleted " << Printable(deletion.name) << "\n";
  }
  return kExitOk;
}

int RunVerifySnapshot(Session& session, const VerifySnapshotOptions& verify) {
  v1::VerifySnapshotRequest request;
  request.set_name(verify.name);
  v1::VerifySnapshotResponse response;
  const grpc::Status status =
      session.client.admin().VerifySnapshot(session.client.NewContext().get(), request, &response);
  if (!status.ok()) return session.client.Fail(session.terminal, status);
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    for (const std::string& problem : response.problems()) {
      session.terminal.out << Printable(problem) << "\n";
    }
    session.terminal.out << (response.problems().empty() ? "whole: " : "DAMAGED: ")
                         << response.collections() << " collections, " << response.points()
                         << " points, " << response.segments() << " segments, " << response.bytes()
                         << " bytes\n";
  }
  return response.problems().empty() ? kExitOk : kExitFailed;
}

}  // namespace baton::ctl
