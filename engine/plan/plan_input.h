#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/plan/card_model.h"
#include "engine/plan/queueing.h"
#include "engine/plan/service_curve.h"
#include "engine/request/work.h"

namespace baton::plan {

// How a figure is known.
enum class Evidence : uint8_t { kMeasured, kStated, kModelled };
std::string_view Name(Evidence evidence);

// ---- What there is

// Devices of one kind.
struct Device {
  std::string name;
  Platform platform = Platform::kCpu;
  Evidence evidence = Evidence::kStated;
  int64_t count = 1;
  int64_t lanes = 1;  // launches that one of them runs at once
  double idle_w = 0;
  double max_w = 0;
  double cost_per_hour = 0;          // of one, without energy
  double link_gb_per_s = 0;          // to the host; 0: moving data to it takes no time
  std::vector<ServiceCurve> curves;  // one per class
  std::optional<CardFigures> card;   // of a card whose curves are modelled

  const ServiceCurve* CurveOf(WorkClass work_class) const;
};

struct Fleet {
  std::string currency = "USD";
  double price_per_kwh = 0;
  double host_w = 0;              // what draws whether there is work or not, beside the devices
  double host_cost_per_hour = 0;  // without energy
  std::vector<Device> devices;
};

// ---- What is asked

struct Stage {
  WorkClass work_class = WorkClass::kPrefill;
  double items = 1;     // of decode: tokens
  double input_mb = 0;  // moved to its device where the stage before ran on another one
};

// Requests of one kind. Their stages run one after another.
struct Request {
  std::string name;
  double per_second = 0;
  double sla_ms = 0;           // 0: none
  double sla_quantile = 0.95;  // the share of requests that are to keep it
  std::vector<Stage> stages;
};

struct Workload {
  std::vector<Request> requests;
  std::array<BatchLimits, kWorkClassCount> batching;
  std::array<std::string, kWorkClassCount> placement;  // a device's name; empty: the plan's choice
};

}  // namespace baton::plan
