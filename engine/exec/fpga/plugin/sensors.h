#pragma once

#include <string>

#include "engine/exec/executor_abi.h"

namespace baton::fpga {

// What XRT's reports of a card, JSON texts, say of it. Fills in what they tell; any text is safe.
// thermal: the hottest "temp_C". electrical: "power_consumption_watts".
void ReadSensors(const std::string& thermal, const std::string& electrical,
                 baton_device_sample* sample);

}  // namespace baton::fpga
