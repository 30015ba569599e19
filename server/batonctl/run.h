#pragma once

#include "server/batonctl/client.h"

namespace baton::ctl {

// The whole program: parses, runs one subcommand, returns the exit code (0 ok, 1 request failed,
// 2 usage).
int Run(int argc, const char* const* argv, Terminal terminal);

}  // namespace baton::ctl
