#include "server/batonctl/plan_devices.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/batonctl/table.h"
#include "server/batonctl/text.h"

namespace baton::ctl {
namespace {

// One class on one device that does nothing else.
struct Service {
  WorkClass work_class = WorkClass::kPrefill;
  const plan::Device* device = nullptr;
  double items = 1;             // of a request; of decode: tokens in a step of one sequence
  double alone_ms = 0;          // that many, alone
  double alone_per_second = 0;  // tokens of decode, else requests, one after another
  double most_per_second = 0;   // in the largest launches, on all devices of the kind
};

std::vector<Service> ServicesOf(const plan::Workload& workload, const plan::Fleet& fleet) {
  std::vector<Service> services;
  for (int i = 0; i < kWorkClassCount; ++i) {
    const auto work_class = static_cast<WorkClass>(i);
    double per_second = 0;
    double items = 0;
    for (const plan::Request& request : workload.requests) {
      for (const plan::Stage& stage : request.stages) {
        if (stage.work_class != work_class) continue;
        per_second += request.per_second;
        items += request.per_second * stage.items;
      }
    }
    if (per_second == 0) continue;
    items = work_class == WorkClass::kDecode ? 1 : items / per_second;
    for (const plan::Device& device : fleet.devices) {
      const plan::ServiceCurve* const curve = device.CurveOf(work_class);
      if (curve == nullptr) continue;
      const double alone_ms = curve->RunMs(items);
      const double launches =
          static_cast<double>(device.count * device.lanes) * curve->items_max() / items;
      services.push_back({.work_class = work_class,
                          .device = &device,
                          .items = items,
                          .alone_ms = alone_ms,
                          .alone_per_second = 1000 / alone_ms,
                          .most_per_second = 1000 * launches / curve->RunMs(curve->items_max())});
    }
  }
  return services;
}

// The fastest of a class that is no FPGA; null: there is none.
const Service* BestOther(const std::vector<Service>& services, WorkClass work_class) {
  const Service* best = nullptr;
  for (const Service& service : services) {
    if (service.work_class != work_class) continue;
    if (service.device->platform == Platform::kFpga) continue;
    if (best == nullptr || service.alone_ms < best->alone_ms) best = &service;
  }
  return best;
}

void PrintVerdicts(std::ostream& out, const std::vector<Service>& services) {
  for (const Service& service : services) {
    if (service.device->platform != Platform::kFpga) continue;
    const Service* const other = BestOther(services, service.work_class);
    if (other == nullptr) continue;
    const double ratio = service.alone_ms / other->alone_ms;
    const std::string_view what = ratio > 1 ? "the FPGA loses" : "the FPGA wins";
    out << absl::StreamFormat("%s: %s (%s) takes %.3g times as long as %s (%s): %s\n",
                              Name(service.work_class), service.device->name,
                              plan::Name(service.device->evidence), ratio, other->device->name,
                              plan::Name(other->device->evidence), what);
  }
}

void PrintCard(std::ostream& out, const plan::Device& device) {
  const plan::CardFigures& card = *device.card;
  out << absl::StreamFormat(
      "\n%s, modelled: a %s at %g MHz, %d ports, %.1f of %g GB/s (efficiency %.3f)\n", device.name,
      card.card, card.clock_mhz, card.ports, card.gb_per_s, card.peak_gb_per_s, card.efficiency);
  if (card.decode) {
    const plan::CardDecode& decode = *card.decode;
    out << absl::StreamFormat(
        "  decode: %.4g tok/s modelled, of %.4g were reading %.4g GB of weights a token all of it\n"
        "    a token: weights %.3g ms, vectors %.3g, attention %.3g, the host's run %.3g; "
        "KV %.4g MB a position\n",
        decode.tokens_per_second(), decode.memory_tokens_per_second,
        static_cast<double>(decode.weight_bytes) / 1e9, decode.weights_ms, decode.vectors_ms,
        decode.attention_ms, decode.run_ms, static_cast<double>(decode.kv_bytes) / 1e6);
  }
  if (card.search) {
    const plan::CardSearch& search = *card.search;
    out << absl::StreamFormat(
        "  search: %.3g ms a query modelled, %d at once; %.4g GB in %d %s\n", search.query_ms,
        search.at_once, static_cast<double>(search.bytes) / 1e9, search.parts,
        search.parts == 1 ? "bank, each unit with a copy" : "banks, each with a part");
  }
  for (const std::string& why : card.too_large) out << "  too large: " << why << "\n";
  for (const std::string& line : card.assumptions) out << "  assumes: " << line << "\n";
}

}  // namespace

void PrintPlanDevices(std::ostream& out, const plan::Workload& workload, const plan::Fleet& fleet) {
  const std::vector<Service> services = ServicesOf(workload, fleet);
  Table table({"alone", "device", "evidence", ">items", ">ms", ">per s", ">per s at most"});
  for (const Service& service : services) {
    const std::string unit = service.work_class == WorkClass::kDecode ? " tok" : "";
    table.AddRow({std::string(Name(service.work_class)), service.device->name,
                  std::string(plan::Name(service.device->evidence)),
                  absl::StrFormat("%.4g", service.items), absl::StrFormat("%.3g", service.alone_ms),
                  absl::StrFormat("%.4g%s", service.alone_per_second, unit),
                  absl::StrFormat("%.4g%s", service.most_per_second, unit)});
  }
  table.Print(out);
  PrintVerdicts(out, services);
  for (const plan::Device& device : fleet.devices) {
    if (device.card) PrintCard(out, device);
  }
}

nlohmann::ordered_json PlanDevicesJson(const plan::Workload& workload, const plan::Fleet& fleet) {
  nlohmann::ordered_json json;
  json["services"] = nlohmann::ordered_json::array();
  for (const Service& service : ServicesOf(workload, fleet)) {
    json["services"].push_back({{"class", std::string(Name(service.work_class))},
                                {"device", service.device->name},
                                {"evidence", std::string(plan::Name(service.device->evidence))},
                                {"items", service.items},
                                {"alone_ms", service.alone_ms},
                                {"alone_per_second", service.alone_per_second},
                                {"most_per_second", service.most_per_second}});
  }
  json["cards"] = nlohmann::ordered_json::array();
  for (const plan::Device& device : fleet.devices) {
    if (!device.card) continue;
    const plan::CardFigures& card = *device.card;
    nlohmann::ordered_json of = {
        {"device", device.name},     {"evidence", std::string(plan::Name(device.evidence))},
        {"card", card.card},         {"clock_mhz", card.clock_mhz},
        {"ports", card.ports},       {"efficiency", card.efficiency},
        {"gb_per_s", card.gb_per_s}, {"peak_gb_per_s", card.peak_gb_per_s}};
    if (card.decode) {
      const plan::CardDecode& decode = *card.decode;
      of["decode"] = {{"tokens_per_second", decode.tokens_per_second()},
                      {"memory_tokens_per_second", decode.memory_tokens_per_second},
                      {"weight_bytes_per_token", decode.weight_bytes},
                      {"kv_bytes_per_position", decode.kv_bytes},
                      {"weights_ms", decode.weights_ms},
                      {"vectors_ms", decode.vectors_ms},
                      {"attention_ms", decode.attention_ms},
                      {"run_ms", decode.run_ms}};
    }
    if (card.search) {
      of["search"] = {{"query_ms", card.search->query_ms},
                      {"queries_at_once", card.search->at_once},
                      {"bytes", card.search->bytes},
                      {"parts", card.search->parts}};
    }
    of["too_large"] = card.too_large;
    of["assumptions"] = card.assumptions;
    json["cards"].push_back(std::move(of));
  }
  return json;
}

}  // namespace baton::ctl
