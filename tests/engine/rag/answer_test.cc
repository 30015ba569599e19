#include "engine/rag/answer.h"

#include <catch2/catch.hpp>
#include <string>

namespace baton {
namespace {

using Numbers = std::vector<int32_t>;

TEST_CASE("the passages that an answer names are its citations") {
  CHECK(ReadAnswer(" 187 steps [2]", 3).cited == Numbers{2});
  CHECK(ReadAnswer("[3] says so, and so do [1][3].", 3).cited == Numbers{1, 3});
  CHECK(ReadAnswer("no marks", 3).cited.empty());
}

TEST_CASE("what is no number of a passage is no citation") {
  for (const std::string text :
       {"[0]", "[4]", "[-1]", "[1", "[", "[]", "[ 1]", "[1 ]", "[1.5]", "[99999999999999]", "1]"}) {
    CAPTURE(text);
    CHECK(ReadAnswer(text, 3).cited.empty());
  }
  CHECK(ReadAnswer("[[2]]", 3).cited == Numbers{2});
  CHECK(ReadAnswer("[1]", 0).cited.empty());
  CHECK(ReadAnswer("", 3).cited.empty());
  CHECK(ReadAnswer(std::string(100'000, '['), 3).cited.empty());
}

TEST_CASE("an answer refuses by beginning as it was told to") {
  CHECK(ReadAnswer(" Not in the documents.", 3).refuses);
  CHECK(ReadAnswer("\nNot in the documents", 3).refuses);
  CHECK_FALSE(ReadAnswer("It is not in the documents.", 3).refuses);
  CHECK_FALSE(ReadAnswer("Not in the doc", 3).refuses);
  CHECK_FALSE(ReadAnswer(" \n", 3).refuses);
}

}  // namespace
}  // namespace baton
