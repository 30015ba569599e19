#pragma once

#include <optional>

#include "loadtest/load_options.h"

namespace baton::load {

// Reads the command line. Where there is nothing to run (--help, or a usage error, which is
// printed), returns no options and sets `exit_code`.
std::optional<LoadOptions> ParseFlags(int argc, const char* const* argv, int& exit_code);

}  // namespace baton::load
