#include "tests/support/process.h"

#include "catch2/catch.hpp"
#include "tests/support/shared_data.h"
#include "tests/support/temp_dir.h"

namespace baton {

ProgramResult RunProgram(const std::vector<std::string>& arguments, const Environment& environment,
                         std::chrono::seconds limit) {
  const TempDir dir;
  const ChildProcess::Files files{.out = dir.File("out"), .err = dir.File("err")};
  ProgramResult result;
  ChildProcess child(arguments, environment, files);
  const std::optional<int> exit_code = child.Wait(limit);
  if (!exit_code) FAIL(arguments.front() << " still runs after " << limit.count() << " s");
  result.exit_code = *exit_code;
  result.out = ReadWholeFile(files.out);
  result.err = ReadWholeFile(files.err);
  return result;
}

std::string TailOf(const std::string& text, int lines) {
  size_t begin = text.size();
  for (int i = 0; i <= lines && begin != std::string::npos && begin > 0; ++i) {
    begin = text.rfind('\n', begin - 1);
  }
  return begin == std::string::npos || begin == 0 ? text : text.substr(begin + 1);
}

}  // namespace baton
