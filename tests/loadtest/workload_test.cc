#include "loadtest/workload.h"  // header under test

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstring>
#include <set>

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

RequestMix SearchMix(int32_t dimension) {
  RequestMix mix;
  mix.kind = Kind::kSearch;
  mix.dimension = dimension;
  return mix;
}

TEST_CASE("Search vectors have length 1 and depend on the seed alone") {
  const auto workload = Workload::Make(SearchMix(96), nullptr, 1);
  REQUIRE_OK(workload);
  REQUIRE(workload->size() == 1000);
  for (size_t i = 0; i < workload->size(); ++i) {
    double sum = 0;
    for (float value : workload->at(i).vector) sum += static_cast<double>(value) * value;
    CHECK(sum == Approx(1).epsilon(1e-4));
  }
  CHECK(Workload::Make(SearchMix(96), nullptr, 1)->at(7).vector == workload->at(7).vector);
  CHECK(Workload::Make(SearchMix(96), nullptr, 2)->at(7).vector != workload->at(7).vector);
}

TEST_CASE("Long search vectors are fewer, not more memory") {
  CHECK(Workload::Make(SearchMix(65'536), nullptr, 1)->size() == 256);
}

TEST_CASE("A bulk search takes its batch of vectors") {
  RequestMix mix = SearchMix(8);
  mix.kind = Kind::kSearchBulk;
  mix.batch = 5;
  CHECK(Workload::Make(mix, nullptr, 1)->at(0).vector.size() == 40);
}

std::string Fvecs(const std::vector<std::vector<float>>& rows) {
  std::string bytes;
  for (const auto& row : rows) {
    const auto dimension = static_cast<int32_t>(row.size());
    bytes.append(reinterpret_cast<const char*>(&dimension), 4);
    bytes.append(reinterpret_cast<const char*>(row.data()), 4 * row.size());
  }
  return bytes;
}

TEST_CASE("Vectors are read from .fvecs and what is wrong with one is named") {
  const TemporaryFile file(Fvecs({{1, 2}, {3, 4}, {5, 6}}));
  RequestMix mix = SearchMix(0);
  mix.vectors_path = file.path();
  const auto workload = Workload::Make(mix, nullptr, 1);
  REQUIRE_OK(workload);
  REQUIRE(workload->size() == 3);
  CHECK(workload->at(1).vector == std::vector<float>{3, 4});
  mix.kind = Kind::kSearchBulk;
  mix.batch = 4;  // more than there are: they repeat
  const auto bulk = Workload::Make(mix, nullptr, 1);
  REQUIRE_OK(bulk);
  CHECK(bulk->at(0).vector == std::vector<float>{1, 2, 3, 4, 5, 6, 1, 2});
  const auto fails = [](const std::string& bytes, const std::string& part) {
    const TemporaryFile bad(bytes);
    REQUIRE_STATUS(ReadFvecs(bad.path(), 1000), absl::StatusCode::kInvalidArgument, part);
  };
  fails("", "holds no vector");
  fails(Fvecs({{1, 2}, {3}}), "row 1 has dimension 1");
  fails(Fvecs({{1, 2}}).substr(0, 9), "ends within row 0");
  fails(Fvecs({{NAN}}), "no finite number");
  fails(Fvecs({{}}), "dimension 0");
}

int CountWords(const std::string& text) {
  return 1 + static_cast<int>(std::count(text.begin(), text.end(), ' '));
}

TEST_CASE("Drawn prompts have the asked lengths and shared prefixes") {
  RequestMix mix;
  mix.kind = Kind::kGenerate;
  mix.prompt_words = {20, 40};
  mix.shared_prefixes = 3;
  mix.shared_prefix_words = 10;
  mix.max_tokens = {5, 9};
  const auto workload = Workload::Make(mix, nullptr, 11);
  REQUIRE_OK(workload);
  std::set<std::string> prefixes;
  std::set<std::string> prompts;
  for (size_t i = 0; i < workload->size(); ++i) {
    const Input& input = workload->at(i);
    const int words = CountWords(input.text);
    CHECK(words >= 20);
    CHECK(words <= 40);
    CHECK(input.max_tokens >= 5);
    CHECK(input.max_tokens <= 9);
    size_t end = 0;
    for (int word = 0; word < 10; ++word) end = input.text.find(' ', end + 1);
    prefixes.insert(input.text.substr(0, end));
    prompts.insert(input.text);
  }
  CHECK(prefixes.size() == 3);
  CHECK(prompts.size() == workload->size());
}

TEST_CASE("Prompts of a trace share what their ids say") {
  const std::vector<TraceEntry> trace = {
      {.at_ms = 0, .input_length = 1000, .output_length = 4, .hash_ids = {1, 2}},
      {.at_ms = 1, .input_length = 900, .output_length = 5, .hash_ids = {1, 3}},
      {.at_ms = 2, .input_length = 30, .output_length = 6, .hash_ids = {}}};
  RequestMix mix;
  mix.kind = Kind::kGenerate;
  const auto workload = Workload::Make(mix, &trace, 1);
  REQUIRE_OK(workload);
  REQUIRE(workload->size() == 3);
  const std::string& a = workload->at(0).text;
  const std::string& b = workload->at(1).text;
  CHECK(CountWords(a) == 1000);
  CHECK(CountWords(b) == 900);
  CHECK(CountWords(workload->at(2).text) == 30);
  const auto same = std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin();
  const int shared = CountWords(a.substr(0, static_cast<size_t>(same)));
  CHECK(shared >= kTraceBlockWords);
  CHECK(shared < kTraceBlockWords + 8);
  CHECK(workload->at(2).max_tokens == 6);
}

}  // namespace
}  // namespace baton::load
