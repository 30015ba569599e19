#include "engine/model/chat/json_parser.h"

#include <string>

#include "catch2/catch.hpp"
#include "engine/model/chat/limits.h"
#include "engine/model/chat/value_text.h"
#include "tests/support/status_matchers.h"

namespace baton::chat {
namespace {

std::string Again(std::string_view json) {
  Workspace workspace(0);
  const auto value = ParseJson(json, workspace);
  REQUIRE_OK(value);
  const auto text = ToJson(*value, {}, workspace);
  REQUIRE_OK(text);
  return text->bytes();
}

TEST_CASE("JSON comes back as Python would write it") {
  CHECK(Again(" null ") == "null");
  CHECK(Again("[true,false , 0, -12, 9223372036854775807]") ==
        "[true, false, 0, -12, 9223372036854775807]");
  CHECK(Again("[1.0, -2.5e3, 1E+2, 0.1, 92233720368547758070]") ==
        "[1.0, -2500.0, 100.0, 0.1, 9.223372036854776e+19]");
  CHECK(Again(R"({"b": {}, "a": [], "b": 1})") == R"({"b": 1, "a": []})");
  CHECK(Again(R"(["\"\\\/\b\f\n\r\t", "\u00e9\ud83d\ude00é"])") == R"(["\"\\/\b\f\n\r\t", "é😀é"])");
}

TEST_CASE("what is no JSON is an error that names the byte") {
  const std::pair<std::string, const char*> cases[] = {
      {"", "byte 0: a value is missing"},
      {"{", "byte 1: a key in quotes is missing"},
      {"{\"a\" 1}", "byte 5: ':' is missing"},
      {"{\"a\": 1 \"b\"", "byte 8: ',' or '}' is missing"},
      {"[1 2]", "byte 3: ',' or ']' is missing"},
      {"[1,]", "byte 3: this is no value"},
      {"{\"a\": 1,}", "byte 8: a key in quotes is missing"},
      {"1 2", "byte 2: nothing may follow the value"},
      {"01", "a number must not start with 0"},
      {"1.", "byte 2: a digit is missing"},
      {"1e+", "byte 3: a digit is missing"},
      {"-", "byte 1: this is no value"},
      {"1e999", "a number is out of range"},
      {"nul", "byte 0: this is no value"},
      {"\"a", "byte 2: the text does not end"},
      {"\"\\", "byte 2: the text does not end"},
      {"\"\\x\"", "an escape that JSON has not"},
      {"\"\\u12", "\\u needs four hexadecimal digits"},
      {"\"\\u12g4\"", "\\u needs four hexadecimal digits"},
      {"\"\\ud800\"", "half of a surrogate pair"},
      {"\"\\ud800\\u0041\"", "half of a surrogate pair"},
      {"\"\\udc00\"", "half of a surrogate pair"},
      {"\"\n\"", "byte 1: a control character in a text"},
      {"\"\xFF\"", "byte 1: the text is no UTF-8"},
      {std::string(102, '[') + std::string(102, ']'), "nested deeper than 100"},
  };
  for (const auto& [json, message] : cases) {
    INFO(json);
    Workspace workspace(0);
    REQUIRE_STATUS(ParseJson(json, workspace), absl::StatusCode::kInvalidArgument, message);
  }
  CHECK(Again(std::string(101, '[') + std::string(101, ']')).size() == 202);
}

}  // namespace
}  // namespace baton::chat
