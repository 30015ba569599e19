// devices, explain: what the daemon has and would do.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

void PrintDevices(std::ostream& out, const v1::DevicesResponse& response) {
  Table table(
      {"platform", "device", "available", "skills", ">queue", ">memory used", ">of", "detail"});
  for (const v1::Device& device : response.devices()) {
    table.AddRow(
        {absl::StrCat(PlatformWord(device.platform()), device.emulated() ? " (emulated)" : ""),
         device.device(), device.available() ? "yes" : "no", absl::StrJoin(device.skills(), ","),
         device.available() ? absl::StrCat(device.queue_depth()) : "-",
         FormatBytesOrDash(device.memory_bytes_used()),
         FormatBytesOrDash(device.memory_bytes_total()),
         device.available() ? device.detail() : device.reason()});
  }
  table.Print(out);
}

void PrintExplanation(std::ostream& out, const v1::ExplainResponse& response) {
  for (const v1::ExplainStage& stage : response.stages()) {
    const v1::Route& route = stage.route();
    out << absl::StreamFormat("%s: class %s, rule %s -> %s %s\n", Printable(stage.name()),
                              WorkClassWord(route.work_class()), Printable(route.rule()),
                              PlatformOf(route), Printable(route.device()))
        << Wrap(route.reason(), 2);
    Table table({"platform", "device", "eligible", ">score", ">performance", ">queue",
                 ">capability", ">residency", "reason"});
    for (const v1::Candidate& c : stage.candidates()) {
      const auto score = [&c](double value) {
        return c.eligible() ? absl::StrFormat("%.3f", value) : std::string("-");
      };
      table.AddRow({PlatformWord(c.platform()), c.device(), c.eligible() ? "yes" : "no",
                    score(c.score()), score(c.score_performance()), score(c.score_queue()),
                    score(c.score_capability()), score(c.score_residency()), c.reason()});
    }
    table.Print(out, "  ");
    out << "\n";
  }
}

}  // namespace

int RunDevices(Session& session) {
  v1::DevicesResponse response;
  const grpc::Status status =
      session.client.admin().Devices(session.client.NewContext().get(), {}, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintDevices(session.terminal.out, response);
  }
  return kExitOk;
}

int RunExplain(Session& session, const ExplainOptions& explain) {
  v1::ExplainRequest request;
  request.set_kind(explain.kind);
  if (explain.items) {
    request.set_items(*explain.items);
  }
  *request.mutable_options() = session.options.request;
  v1::ExplainResponse response;
  const grpc::Status status =
      session.client.admin().Explain(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintExplanation(session.terminal.out, response);
  }
  return kExitOk;
}

}  // namespace baton::ctl
