#pragma once

#include <nlohmann/json.hpp>
#include <ostream>

#include "engine/plan/plan_input.h"

namespace baton::ctl {

// What each device by itself takes for each class of a workload, one beside the other, and where an
// FPGA loses. Of a card whose curves are modelled: what went into the model, and what it has no
// room for.
void PrintPlanDevices(std::ostream& out, const plan::Workload& workload, const plan::Fleet& fleet);
// {"services": [...], "cards": [...]}
nlohmann::ordered_json PlanDevicesJson(const plan::Workload& workload, const plan::Fleet& fleet);

}  // namespace baton::ctl
