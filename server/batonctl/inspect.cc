// devices, explain, calibrate, power: what the daemon has, knows and would do.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/stages.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// Where its threads run, and near what: "14-15 (node 1)".
std::string PlaceOf(const v1::Device& device) {
  std::string place = device.processors().empty() ? "anywhere" : device.processors();
  if (!device.numa_nodes().empty()) {
    absl::StrAppend(&place, " (node ", absl::StrJoin(device.numa_nodes(), ", node "), ")");
  }
  return place;
}

void PrintDevices(std::ostream& out, const v1::DevicesResponse& response) {
  Table table({"platform", "device", "available", "state", ">capacity", "skills", ">queue", ">busy",
               ">temperature", ">power", ">memory errors", ">memory used", ">of", "processors",
               "detail"});
  for (const v1::Device& device : response.devices()) {
    table.AddRow(
        {absl::StrCat(PlatformWord(device.platform()), device.emulated() ? " (emulated)" : ""),
         device.device(), device.available() ? "yes" : "no",
         device.state().empty() ? "-" : device.state(),
         device.state().empty() ? "-" : absl::StrFormat("%.0f%%", 100 * device.capacity()),
         absl::StrJoin(device.skills(), ","),
         device.available() ? absl::StrCat(device.queue_depth()) : "-",
         device.has_utilisation() ? absl::StrFormat("%.0f%%", 100 * device.utilisation()) : "-",
         device.has_temperature_c() ? absl::StrFormat("%.0f C", device.temperature_c()) : "-",
         device.watts() > 0 ? absl::StrFormat("%.0f W%s", device.watts(),
                                              device.watts_measured() ? "" : " (estimated)")
                            : "-",
         device.has_memory_errors() ? absl::StrCat(device.memory_errors()) : "-",
         FormatBytesOrDash(device.memory_bytes_used()),
         FormatBytesOrDash(device.memory_bytes_total()),
         device.state().empty() ? "-" : PlaceOf(device),
         device.available() ? device.detail() : device.reason()});
  }
  table.Print(out);
  for (const v1::Device& device : response.devices()) {
    for (const std::string& event : device.events()) {
      out << Printable(device.device()) << ": " << Printable(event) << "\n";
    }
  }
}

void PrintPaths(std::ostream& out, const v1::DevicesResponse& response) {
  Table table({"path", "from", "to", ">bytes from", ">to", ">copies", ">failures", ">latency",
               ">bandwidth"});
  for (const v1::TransferPath& path : response.paths()) {
    const bool taken = path.copies() > 0;
    table.AddRow({path.path(), path.source().empty() ? "-" : path.source(),
                  path.destination().empty() ? "-" : path.destination(),
                  taken ? FormatBytes(path.bytes_min()) : "-",
                  path.has_bytes_max() ? FormatBytes(path.bytes_max()) : "-",
                  absl::StrCat(path.copies()), absl::StrCat(path.failures()),
                  taken ? absl::StrFormat("%.1f us", path.latency_us()) : "-",
                  taken ? absl::StrFormat("%.2f GB/s", path.bytes_per_s() * 1e-9) : "-"});
  }
  table.Print(out);
}

void PrintCosts(std::ostream& out, const v1::CalibrateResponse& response) {
  Table table({"class", "platform", "device", ">batches", ">median error", ">drifts"});
  for (const v1::LearnedCost& cost : response.costs()) {
    table.AddRow({WorkClassWord(cost.work_class()), PlatformWord(cost.platform()), cost.device(),
                  absl::StrCat(cost.samples()),
                  absl::StrFormat("%.1f%%", 100 * cost.median_error()),
                  absl::StrCat(cost.drifts())});
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
                 ">capability", ">residency", ">predicted", ">at most", ">batches", "sure",
                 ">speed-up", ">energy", "reason"});
    for (const v1::Candidate& c : stage.candidates()) {
      const auto score = [&c](double value) {
        return c.eligible() ? absl::StrFormat("%.3f", value) : std::string("-");
      };
      table.AddRow(
          {PlatformWord(c.platform()), c.device(), c.eligible() ? "yes" : "no", score(c.score()),
           score(c.score_performance()), score(c.score_queue()), score(c.score_capability()),
           score(c.score_residency()),
           c.samples() > 0 ? FormatUs(std::llround(c.predicted_us())) : "-",
           c.samples() > 0 ? FormatUs(std::llround(c.predicted_us_high())) : "-",
           absl::StrCat(c.samples()), c.sure() ? "yes" : "no",
           c.speedup() > 0 ? absl::StrFormat("%.2fx", c.speedup()) : "-",
           c.predicted_joules() > 0 ? absl::StrFormat("%.3g J", c.predicted_joules()) : "-",
           c.reason()});
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
    session.terminal.out << "\n";
    PrintPaths(session.terminal.out, response);
  }
  return kExitOk;
}

int RunCalibrate(Session& session) {
  v1::CalibrateResponse response;
  const grpc::Status status =
      session.client.admin().Calibrate(session.client.NewContext().get(), {}, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    PrintCosts(session.terminal.out, response);
  }
  return kExitOk;
}

int RunPower(Session& session, const PowerOptions& power) {
  v1::PowerRequest request;
  request.set_mode(power.mode);
  v1::PowerResponse response;
  const grpc::Status status =
      session.client.admin().Power(session.client.NewContext().get(), request, &response);
  if (!status.ok()) {
    return session.client.Fail(session.terminal, status);
  }
  if (session.options.json) {
    PrintJson(session.terminal.out, response);
  } else {
    session.terminal.out << absl::StreamFormat(
        "mode %s, %.0f W\n", EnumWord(v1::PowerMode_Name(response.mode()), "POWER_MODE_"),
        response.watts());
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
