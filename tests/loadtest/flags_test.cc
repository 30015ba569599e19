#include "loadtest/flags.h"  // header under test

#include <catch2/catch.hpp>
#include <vector>

#include "tests/loadtest/temporary_file.h"

namespace baton::load {
namespace {

std::optional<Command> Parse(std::vector<const char*> flags, int& exit_code) {
  flags.insert(flags.begin(), "baton-load");
  return ParseFlags(static_cast<int>(flags.size()), flags.data(), exit_code);
}

TEST_CASE("A full command line is read") {
  int exit_code = 0;
  const auto command = Parse(
      {"--target",      "127.0.0.1:1", "--scenario",   "search", "--rate", "2.5", "--duration", "3",
       "--arrivals",    "constant",    "--collection", "c",      "--dim",  "8",   "--seed",     "9",
       "--deadline-ms", "100",         "--slo-e2e-ms", "20"},
      exit_code);
  REQUIRE(command);
  CHECK(command->kind == Command::kRun);
  const Scenario& scenario = command->scenario;
  REQUIRE(scenario.load.size() == 1);
  CHECK(scenario.load[0].kind == Kind::kSearch);
  CHECK(scenario.arrivals.rate_per_s == 2.5);
  CHECK(scenario.arrivals.process == Process::kConstant);
  CHECK(scenario.load[0].dimension == 8);
  CHECK(scenario.seed == 9);
  CHECK(scenario.load[0].deadline_ms == 100);
  CHECK(scenario.slo.e2e_ms == 20);
}

TEST_CASE("Usage errors exit with 2, help with 0") {
  int exit_code = 0;
  CHECK_FALSE(Parse({}, exit_code));
  CHECK(exit_code == 2);
  for (const std::vector<const char*>& flags : std::vector<std::vector<const char*>>{
           {"--target", "a:1", "--scenario", "sing", "--rate", "1", "--duration", "1"},
           {"--target", "a:1", "--scenario", "generate", "--rate", "0", "--duration", "1"},
           {"--target", "a:1", "--scenario", "generate", "--rate", "1"},
           {"--scenario", "generate", "--rate", "1", "--duration", "1"},
           // ask without --questions
           {"--target", "a:1", "--scenario", "ask", "--rate", "1", "--duration", "1",
            "--collection", "c"},
           {"--target", "a:1", "--scenario", "/nonexistent.yaml"},
           {"compare", "one.json"},
           {"html", "one.json"}}) {
    exit_code = 0;
    CHECK_FALSE(Parse(flags, exit_code));
    CHECK(exit_code == 2);
  }
  CHECK_FALSE(Parse({"--help"}, exit_code));
  CHECK(exit_code == 0);
}

TEST_CASE("A scenario file is read and flags override it") {
  const TemporaryFile bare(
      "target: somewhere:1\nduration_s: 7\narrivals: {process: gamma, rate: 3}\n"
      "load: [{kind: search, collection: c, k: 3}]\n");
  const std::string path = bare.path() + ".yaml";
  std::filesystem::copy_file(bare.path(), path);
  int exit_code = 0;
  const auto command =
      Parse({"--scenario", path.c_str(), "--target", "elsewhere:2", "--rate", "9"}, exit_code);
  std::filesystem::remove(path);
  REQUIRE(command);
  CHECK(command->scenario.target == "elsewhere:2");
  CHECK(command->scenario.duration_s == 7);
  CHECK(command->scenario.arrivals.process == Process::kGamma);
  CHECK(command->scenario.arrivals.rate_per_s == 9);
  CHECK(command->scenario.load[0].k == 3);
}

TEST_CASE("Reports are compared and made a page of") {
  int exit_code = 0;
  const auto compare = Parse({"compare", "a.json", "b.json", "--tolerance", "0.2"}, exit_code);
  REQUIRE(compare);
  CHECK(compare->kind == Command::kCompare);
  CHECK(compare->files == std::vector<std::string>{"a.json", "b.json"});
  CHECK(compare->compare.tolerance == 0.2);
  const auto html = Parse({"html", "a.json", "b.json", "--out", "page.html"}, exit_code);
  REQUIRE(html);
  CHECK(html->kind == Command::kHtml);
  CHECK(html->files.size() == 2);
  CHECK(html->out == "page.html");
}

}  // namespace
}  // namespace baton::load
