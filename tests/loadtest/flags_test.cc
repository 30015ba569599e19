#include "loadtest/flags.h"  // header under test

#include <catch2/catch.hpp>
#include <vector>

namespace baton::load {
namespace {

std::optional<LoadOptions> Parse(std::vector<const char*> flags, int& exit_code) {
  flags.insert(flags.begin(), "baton-load");
  return ParseFlags(static_cast<int>(flags.size()), flags.data(), exit_code);
}

TEST_CASE("A full command line is read") {
  int exit_code = 0;
  const auto options = Parse({"--target", "127.0.0.1:1", "--scenario", "search", "--rate", "2.5",
                              "--duration", "3", "--arrivals", "constant", "--collection", "c",
                              "--dim", "8", "--seed", "9", "--deadline-ms", "100"},
                             exit_code);
  REQUIRE(options);
  CHECK(options->scenario == Scenario::kSearch);
  CHECK(options->rate_per_s == 2.5);
  CHECK(options->arrivals == ArrivalKind::kConstant);
  CHECK(options->dimension == 8);
  CHECK(options->seed == 9);
  CHECK(options->deadline_ms == 100);
}

TEST_CASE("Usage errors exit with 2, help with 0") {
  int exit_code = 0;
  CHECK_FALSE(Parse({}, exit_code));
  CHECK(exit_code == 2);
  CHECK_FALSE(Parse({"--target", "a:1", "--scenario", "sing", "--rate", "1", "--duration", "1"},
                    exit_code));
  CHECK(exit_code == 2);
  CHECK_FALSE(Parse({"--target", "a:1", "--scenario", "generate", "--rate", "0", "--duration", "1",
                     "--prompts", "p"},
                    exit_code));
  CHECK(exit_code == 2);
  // ask without --questions
  CHECK_FALSE(Parse({"--target", "a:1", "--scenario", "ask", "--rate", "1", "--duration", "1",
                     "--collection", "c"},
                    exit_code));
  CHECK(exit_code == 2);
  CHECK_FALSE(Parse({"--help"}, exit_code));
  CHECK(exit_code == 0);
}

}  // namespace
}  // namespace baton::load
