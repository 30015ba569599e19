#include "loadtest/trace.h"  // header under test

#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton::load {
namespace {

TEST_CASE("A trace is read, sorted and starts at zero") {
  const auto trace = ParseTrace(
      "{\"timestamp\": 30, \"input_length\": 7, \"output_length\": 0}\n\n"
      "{\"timestamp\": 10.5, \"input_length\": 600, \"output_length\": 2, \"hash_ids\": [9, "
      "1]}\r\n",
      "t");
  REQUIRE_OK(trace);
  REQUIRE(trace->size() == 2);
  CHECK((*trace)[0].at_ms == 0);
  CHECK((*trace)[0].hash_ids == std::vector<uint64_t>{9, 1});
  CHECK((*trace)[1].at_ms == 19.5);
  CHECK((*trace)[1].output_length == 1);  // nobody can be asked for none
}

TEST_CASE("What is wrong with a trace is named with its line") {
  const auto fails = [](const std::string& line, const std::string& part) {
    CAPTURE(line);
    REQUIRE_STATUS(
        ParseTrace("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1}\n" + line, "t"),
        absl::StatusCode::kInvalidArgument, "t:2: " + part);
  };
  fails("nonsense", "not a JSON object");
  fails("[1]", "not a JSON object");
  fails("{\"input_length\": 1, \"output_length\": 1}", "no number \"timestamp\"");
  fails("{\"timestamp\": 0, \"input_length\": 0, \"output_length\": 1}",
        "\"input_length\" must be");
  fails("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": -1}", "\"output_length\" must");
  fails("{\"timestamp\": 1e300, \"input_length\": 1, \"output_length\": 1}", "\"timestamp\" must");
  fails("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [-1]}",
        "\"hash_ids\"");
  fails("{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": 4}",
        "\"hash_ids\"");
  REQUIRE_STATUS(ParseTrace("\n", "t"), absl::StatusCode::kInvalidArgument, "holds no request");
  REQUIRE_STATUS(ReadTrace("/nonexistent"), absl::StatusCode::kNotFound, "/nonexistent");
}

}  // namespace
}  // namespace baton::load
