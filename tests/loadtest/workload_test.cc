#include "loadtest/workload.h"  // header under test

#include <catch2/catch.hpp>
#include <cmath>

#include "tests/loadtest/temporary_file.h"
#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

TEST_CASE("Questions are read from JSON lines") {
  const TemporaryFile file(
      "{\"question\": \"Who?\", \"id\": 3}\r\n\n{\"question\":\"Wo \\u00e4?\"}");
  const auto questions = ReadQuestions(file.path());
  REQUIRE_OK(questions);
  CHECK(*questions == std::vector<std::string>{"Who?", "Wo ä?"});
}

TEST_CASE("A bad line is named") {
  for (const char* line : {"nonsense", "[]", "{}", "{\"question\": 3}", "{\"question\": \"\"}",
                           "{\"question\": \"\xff\"}"}) {
    CAPTURE(line);
    const TemporaryFile file(std::string("{\"question\": \"ok\"}\n") + line + "\n");
    REQUIRE_STATUS(ReadQuestions(file.path()), absl::StatusCode::kInvalidArgument, ":2: ");
  }
}

TEST_CASE("Missing and empty files are errors") {
  REQUIRE_STATUS(ReadPrompts("/nonexistent"), absl::StatusCode::kNotFound, "/nonexistent");
  const TemporaryFile file("\n  \n");
  REQUIRE_STATUS(ReadPrompts(file.path()), absl::StatusCode::kInvalidArgument, "holds nothing");
  REQUIRE_STATUS(ReadQuestions(file.path()), absl::StatusCode::kInvalidArgument, "holds nothing");
}

TEST_CASE("Search vectors have length 1 and depend on the seed alone") {
  LoadOptions options;
  options.scenario = Scenario::kSearch;
  options.dimension = 96;
  const auto workload = MakeWorkload(options);
  REQUIRE_OK(workload);
  REQUIRE(workload->vectors.size() == 1000);
  for (const auto& vector : workload->vectors) {
    double sum = 0;
    for (float value : vector) {
      sum += static_cast<double>(value) * value;
    }
    CHECK(sum == Approx(1).epsilon(1e-4));
  }
  CHECK(MakeWorkload(options)->vectors == workload->vectors);
  options.seed = 2;
  CHECK(MakeWorkload(options)->vectors != workload->vectors);
}

TEST_CASE("Long search vectors are fewer, not more memory") {
  LoadOptions options;
  options.scenario = Scenario::kSearch;
  options.dimension = 65'536;
  CHECK(MakeWorkload(options)->vectors.size() == 256);
}

}  // namespace
}  // namespace baton::load
