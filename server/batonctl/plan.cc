// plan: which devices a workload would need. Asks no daemon.
#include <cmath>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "engine/plan/break_even.h"
#include "engine/plan/plan_file.h"
#include "server/batonctl/commands.h"
#include "server/batonctl/plan_devices.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

std::string Ms(double ms) {
  return std::isfinite(ms) ? absl::StrFormat("%.3g", ms) : std::string("never");
}
std::string Percent(double share) { return absl::StrFormat("%.1f%%", 100 * share); }
std::string Rate(double per_second) { return absl::StrFormat("%.6g", per_second); }

std::string DevicesOf(const plan::Fleet& fleet, const plan::Plan& planned) {
  std::string names;
  for (size_t i = 0; i < fleet.devices.size(); ++i) {
    if (!planned.devices[i].used) continue;
    const plan::Device& device = fleet.devices[i];
    absl::StrAppend(&names, names.empty() ? "" : " + ",
                    device.count > 1 ? absl::StrCat(device.count, " x ") : "", device.name);
  }
  return names;
}

void PrintPlan(std::ostream& out, const plan::Workload& workload, const plan::Fleet& fleet,
               const plan::Plan& planned, const plan::Binding& binding) {
  Table classes({"class", "device", "evidence", ">per s", ">batch", ">fill ms", ">queue ms",
                 ">run ms", ">latency ms", ">capacity/s", ">used", ">watts",
                 absl::StrCat(">", fleet.currency, " per M")});
  for (const plan::ClassPlan& of : planned.classes) {
    const plan::Device& device = fleet.devices[static_cast<size_t>(of.device)];
    const std::string_view evidence = plan::Name(device.evidence);
    const std::string_view work_class = Name(of.work_class);
    classes.AddRow(
        {std::string(work_class), device.name, std::string(evidence), Rate(of.per_second),
         absl::StrFormat("%.3g", of.batch), Ms(of.form_ms), Ms(of.queue_ms), Ms(of.run_ms),
         Ms(of.latency_ms()), Rate(of.capacity_per_second), Percent(of.utilisation),
         absl::StrFormat("%.1f", of.watts), absl::StrFormat("%.4g", of.cost_per_million)});
  }
  classes.Print(out);
  out << "\n";
  Table devices({"device", ">count", ">used", ">busy", ">watts",
                 absl::StrCat(">", fleet.currency, " per hour")});
  for (size_t i = 0; i < fleet.devices.size(); ++i) {
    const plan::DevicePlan& of = planned.devices[i];
    devices.AddRow({fleet.devices[i].name, absl::StrCat(fleet.devices[i].count),
                    of.used ? Percent(of.utilisation) : "not needed",
                    of.used ? Percent(of.busy) : "-",
                    of.used ? absl::StrFormat("%.1f", of.watts) : "-",
                    of.used ? absl::StrFormat("%.4g", of.cost_per_hour) : "-"});
  }
  devices.Print(out);
  out << "\n";
  Table requests({"request", ">per s", ">mean ms", "quantile", ">ms", ">SLA ms", "verdict"});
  for (size_t i = 0; i < workload.requests.size(); ++i) {
    const plan::Request& request = workload.requests[i];
    const plan::RequestPlan& of = planned.requests[i];
    requests.AddRow({request.name, Rate(request.per_second), Ms(of.latency_ms),
                     absl::StrFormat("p%.6g", 100 * request.sla_quantile), Ms(of.quantile_ms),
                     request.sla_ms > 0 ? Ms(request.sla_ms) : "-",
                     !std::isfinite(of.latency_ms) ? "NEVER ENDS"
                     : request.sla_ms == 0         ? "-"
                     : of.met                      ? "kept"
                                                   : "MISSED"});
  }
  requests.Print(out);
  out << absl::StreamFormat("\n%.1f W, %.4g %s per hour, %.4g %s per million requests\n",
                            planned.watts, planned.cost_per_hour, fleet.currency,
                            planned.cost_per_million, fleet.currency);
  if (binding.what.empty()) {
    out << absl::StreamFormat("nothing binds up to %g times this load\n", binding.load);
  } else if (binding.load > 0) {
    out << absl::StreamFormat("what binds: %s, at %.3g times this load\n", binding.what,
                              binding.load);
  } else {
    out << absl::StreamFormat("what binds: %s, however small the load\n", binding.what);
  }
}

void PrintBreakEven(std::ostream& out, const plan::Fleet& fleet, const plan::BreakEven& even) {
  if (!even.not_compared.empty()) {
    out << "no break-even against GPUs alone: " << Printable(even.not_compared) << "\n";
    return;
  }
  const std::string mixed = DevicesOf(fleet, *even.mixed);
  const std::string gpus = DevicesOf(fleet, *even.gpu_only);
  const auto verdict = [](const plan::Plan& planned) {
    return planned.met ? "SLAs kept" : planned.stable ? "SLAs missed" : "overloaded";
  };
  out << absl::StreamFormat("%s: %.4g %s per million requests, %s; %s: %.4g %s, %s\n", mixed,
                            even.mixed->cost_per_million, fleet.currency, verdict(*even.mixed),
                            gpus, even.gpu_only->cost_per_million, fleet.currency,
                            verdict(*even.gpu_only));
  if (even.others_cost_per_hour_max) {
    out << absl::StreamFormat(
        "break-even price at this load: what is no GPU may cost %.4g %s per hour, and costs %.4g\n",
        *even.others_cost_per_hour_max, fleet.currency, even.others_cost_per_hour);
  }
  if (!even.gpu_only_ever_meets) out << "no number of GPUs alone keeps every SLA at this load\n";
  if (!even.mixed_ever_meets) out << "no number of both keeps every SLA at this load\n";
  if (!even.mixed_from_load) {
    out << absl::StreamFormat(
        "break-even load: none, the mix is not the better at %g times this load\n",
        plan::BreakEven::kLoadMax);
  } else if (*even.mixed_from_load <= plan::BreakEven::kLoadMin) {
    out << absl::StreamFormat(
        "break-even load: none, the mix is the better from %g to %g times this load\n",
        plan::BreakEven::kLoadMin, plan::BreakEven::kLoadMax);
  } else {
    out << absl::StreamFormat(
        "break-even load: the mix is the better from %.3g times this load on, with as many "
        "devices as it needs\n",
        *even.mixed_from_load);
  }
}

// Numbers that JSON has no word for are null.
nlohmann::ordered_json Number(double value) {
  if (!std::isfinite(value)) return nullptr;
  return value;
}

nlohmann::ordered_json PlanJson(const plan::Workload& workload, const plan::Fleet& fleet,
                                const plan::Plan& planned) {
  nlohmann::ordered_json json;
  for (const plan::ClassPlan& of : planned.classes) {
    const plan::Device& device = fleet.devices[static_cast<size_t>(of.device)];
    json["classes"].push_back({{"class", std::string(Name(of.work_class))},
                               {"device", device.name},
                               {"evidence", std::string(plan::Name(device.evidence))},
                               {"per_second", of.per_second},
                               {"batch", of.batch},
                               {"fill_ms", of.form_ms},
                               {"queue_ms", Number(of.queue_ms)},
                               {"run_ms", Number(of.run_ms)},
                               {"latency_ms", Number(of.latency_ms())},
                               {"capacity_per_second", of.capacity_per_second},
                               {"utilisation", of.utilisation},
                               {"watts", of.watts},
                               {"cost_per_million", of.cost_per_million}});
  }
  for (size_t i = 0; i < fleet.devices.size(); ++i) {
    const plan::DevicePlan& of = planned.devices[i];
    json["devices"].push_back({{"device", fleet.devices[i].name},
                               {"count", fleet.devices[i].count},
                               {"used", of.used},
                               {"utilisation", of.utilisation},
                               {"busy", of.busy},
                               {"watts", of.watts},
                               {"cost_per_hour", of.cost_per_hour}});
  }
  for (size_t i = 0; i < workload.requests.size(); ++i) {
    const plan::Request& request = workload.requests[i];
    const plan::RequestPlan& of = planned.requests[i];
    json["requests"].push_back({{"request", request.name},
                                {"per_second", request.per_second},
                                {"latency_ms", Number(of.latency_ms)},
                                {"quantile", request.sla_quantile},
                                {"quantile_ms", Number(of.quantile_ms)},
                                {"sla_ms", request.sla_ms},
                                {"met", of.met}});
  }
  json["stable"] = planned.stable;
  json["met"] = planned.met;
  json["watts"] = planned.watts;
  json["cost_per_hour"] = planned.cost_per_hour;
  json["cost_per_million"] = planned.cost_per_million;
  return json;
}

nlohmann::ordered_json BreakEvenJson(const plan::Workload& workload, const plan::Fleet& fleet,
                                     const plan::BreakEven& even) {
  if (!even.not_compared.empty()) return {{"not_compared", even.not_compared}};
  const auto or_null = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
  };
  return {{"others_cost_per_hour", even.others_cost_per_hour},
          {"others_cost_per_hour_max", or_null(even.others_cost_per_hour_max)},
          {"mixed_from_load", or_null(even.mixed_from_load)},
          {"gpu_only_ever_meets", even.gpu_only_ever_meets},
          {"mixed_ever_meets", even.mixed_ever_meets},
          {"gpu_only", PlanJson(workload, fleet, *even.gpu_only)},
          {"mixed", PlanJson(workload, fleet, *even.mixed)}};
}

}  // namespace

int RunPlan(Session& session, const PlanOptions& options) {
  const auto workload_text = ReadTextFile(options.workload_file, "workload");
  if (!workload_text.ok()) return FailUsage(session.terminal, workload_text.status());
  const auto devices_text = ReadTextFile(options.devices_file, "devices");
  if (!devices_text.ok()) return FailUsage(session.terminal, devices_text.status());
  const auto workload = plan::ParseWorkload(*workload_text, options.workload_file);
  if (!workload.ok()) return FailUsage(session.terminal, workload.status());
  const auto fleet = plan::ParseFleet(*devices_text, options.devices_file);
  if (!fleet.ok()) return FailUsage(session.terminal, fleet.status());
  const auto planned =
      plan::BestPlan(*workload, *fleet, std::vector<bool>(fleet->devices.size(), true));
  if (!planned.ok()) return FailUsage(session.terminal, planned.status());
  const auto even = plan::CompareWithGpuOnly(*workload, *fleet);
  if (!even.ok()) return FailUsage(session.terminal, even.status());
  const plan::Binding binding = plan::FindBinding(*workload, *fleet, planned->placement);
  std::ostream& out = session.terminal.out;
  if (session.options.json) {
    nlohmann::ordered_json json = PlanJson(*workload, *fleet, *planned);
    json["currency"] = fleet->currency;
    json["binds"] = {{"what", binding.what}, {"load", binding.load}};
    json["break_even"] = BreakEvenJson(*workload, *fleet, *even);
    json.update(PlanDevicesJson(*workload, *fleet));
    out << json.dump(2) << "\n";
    return kExitOk;
  }
  PrintPlan(out, *workload, *fleet, *planned, binding);
  PrintBreakEven(out, *fleet, *even);
  out << "\n";
  PrintPlanDevices(out, *workload, *fleet);
  return kExitOk;
}

}  // namespace baton::ctl
