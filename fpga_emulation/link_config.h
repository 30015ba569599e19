#pragma once

#include <string>

#include "fpga_emulation/card_spec.h"

namespace baton::fpga {

// What v++ --link --config reads to join a card's units: nk, sp and stream_connect of its
// [connectivity], one line each. Source of the form: UG1393, "--connectivity Options".
std::string LinkConfig(const CardSpec& card);

}  // namespace baton::fpga
