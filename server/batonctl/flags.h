#pragma once

#include <optional>
#include <ostream>

#include "server/batonctl/options.h"

namespace baton::ctl {

// Reads the command line. Where there is nothing to do (--help, or a usage error, which is
// printed), returns no options and sets `exit_code`.
std::optional<Options> ParseFlags(int argc, const char* const* argv, std::ostream& out,
                                  std::ostream& err, int& exit_code);

}  // namespace baton::ctl
