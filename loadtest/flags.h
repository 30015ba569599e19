#pragma once

#include <optional>
#include <string>
#include <vector>

#include "loadtest/compare.h"
#include "loadtest/scenario.h"

namespace baton::load {

// What the command line asks for.
struct Command {
  enum Kind { kRun, kCompare, kHtml };
  Kind kind = kRun;
  Scenario scenario;               // kRun
  CompareOptions compare;          // kCompare
  std::vector<std::string> files;  // kCompare: two; kHtml: reports
  std::string out;                 // kHtml
};

// Reads the command line. Where there is nothing to run (--help, or a usage error, which is
// printed), returns nothing and sets `exit_code`.
std::optional<Command> ParseFlags(int argc, const char* const* argv, int& exit_code);

}  // namespace baton::load
