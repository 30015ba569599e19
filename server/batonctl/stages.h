#pragma once

#include <ostream>
#include <string>

#include "baton/v1/common.pb.h"

namespace baton::ctl {

std::string PlatformWord(v1::Platform platform);
std::string WorkClassWord(v1::WorkClass work_class);

// "gpu", "fpga (emulated)", "cpu (fallback from gpu)".
std::string PlatformOf(const v1::Route& route);

// One line per stage: where it ran, by which rule, how long and why; then what was passed over.
void PrintStages(std::ostream& out, const v1::Timings& timings);

}  // namespace baton::ctl
