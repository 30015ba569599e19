// doctor: what is wrong with a machine, a configuration and a daemon, and what to do about it.
#include <sys/resource.h>

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "config/command_line.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/doctor_checks.h"
#include "server/batonctl/table.h"

namespace baton::ctl {
namespace {

const char* Word(Finding::Grade grade) {
  switch (grade) {
    case Finding::Grade::kOk:
      return "ok";
    case Finding::Grade::kWarning:
      return "warning";
    case Finding::Grade::kProblem:
      break;
  }
  return "PROBLEM";
}

void Append(std::vector<Finding> more, std::vector<Finding>& findings) {
  for (Finding& finding : more) findings.push_back(std::move(finding));
}

}  // namespace

int RunDoctor(Session& session, const DoctorOptions& doctor) {
  rlimit files = {};
  getrlimit(RLIMIT_NOFILE, &files);
  std::vector<Finding> findings = CheckMachine("", files.rlim_cur);
  if (!doctor.config_file.empty()) {
    const auto command = ParseCommandLine({absl::StrCat("--config=", doctor.config_file)});
    if (command.ok()) {
      findings.push_back({.what = "configuration", .found = doctor.config_file});
      Append(CheckConfigured(command->config), findings);
    } else {
      findings.push_back({.grade = Finding::Grade::kProblem,
                          .what = "configuration",
                          .found = std::string(command.status().message()),
                          .remedy = "batond --print-config shows every key"});
    }
  }
  v1::DevicesResponse devices;
  const grpc::Status status =
      session.client.admin().Devices(session.client.NewContext().get(), {}, &devices);
  if (status.ok()) {
    findings.push_back({.what = "daemon", .found = "answers at " + session.options.server});
    Append(CheckDevices(devices), findings);
  } else {
    findings.push_back({.grade = Finding::Grade::kProblem,
                        .what = "daemon",
                        .found = "does not answer",
                        .remedy = session.client.ExplainFailure(status, {})});
  }

  bool problem = false;
  nlohmann::json list = nlohmann::json::array();
  Table table({"", "what", "found", "what to do"});
  for (const Finding& finding : findings) {
    problem |= finding.grade == Finding::Grade::kProblem;
    list.push_back({{"grade", Word(finding.grade)},
                    {"what", finding.what},
                    {"found", finding.found},
                    {"remedy", finding.remedy}});
    table.AddRow({Word(finding.grade), finding.what, finding.found, finding.remedy});
  }
  if (session.options.json) {
    session.terminal.out << list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace)
                         << "\n";
  } else {
    table.Print(session.terminal.out);
  }
  return problem ? kExitFailed : kExitOk;
}

}  // namespace baton::ctl
