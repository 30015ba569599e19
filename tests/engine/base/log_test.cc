#include "engine/base/log.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

namespace baton {
namespace {

// What `write` puts on stderr.
template <class Write>
std::string CapturedStderr(Write write) {
  std::FILE* file = std::tmpfile();
  const int saved = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  write();
  Log().flush();
  dup2(saved, STDERR_FILENO);
  close(saved);
  std::rewind(file);
  std::string text(4096, '\0');
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

TEST_CASE("levels below the configured one are dropped; JSON records stay one object each") {
  InitLog({.level = "warn", .format = "json"});
  const std::string text = CapturedStderr([] {
    Log().info("not shown");
    Log().warn("a \"quoted\"\nline with \\ and \x01");
  });
  InitLog({.level = "info", .format = "text"});
  CHECK(text.find("not shown") == std::string::npos);
  REQUIRE(std::count(text.begin(), text.end(), '\n') == 1);
  const auto record = nlohmann::json::parse(text);
  CHECK(record["level"] == "warning");
  CHECK(record["message"] == "a \"quoted\"\nline with \\ and \x01");
}

}  // namespace
}  // namespace baton
