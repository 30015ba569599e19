#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "tests/support/child_process.h"

namespace baton {

// How a program ended and what it said.
struct ProgramResult {
  int exit_code = -1;
  std::string out;
  std::string err;
};
ProgramResult RunProgram(const std::vector<std::string>& arguments,
                         const Environment& environment = {},
                         std::chrono::seconds limit = std::chrono::seconds(60));

// The last `lines` lines.
std::string TailOf(const std::string& text, int lines);

}  // namespace baton
