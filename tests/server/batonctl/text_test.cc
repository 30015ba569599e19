#include "server/batonctl/text.h"  // header under test

#include <catch2/catch.hpp>
#include <random>
#include <sstream>

#include "server/batonctl/table.h"
#include "server/batonctl/vector_text.h"
#include "tests/support/status_matchers.h"

namespace baton::ctl {
namespace {

TEST_CASE("UTF-8 is checked strictly") {
  const size_t npos = std::string::npos;
  CHECK(FindInvalidUtf8("") == npos);
  CHECK(FindInvalidUtf8("plain, ä, €, 𝄞") == npos);
  CHECK(FindInvalidUtf8("\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF") == npos);  // the edges
  CHECK(FindInvalidUtf8("ab\xff") == 2);
  CHECK(FindInvalidUtf8("\xC0\x80") == 0);          // overlong NUL
  CHECK(FindInvalidUtf8("\xC1\xBF") == 0);          // overlong
  CHECK(FindInvalidUtf8("\xE0\x9F\xBF") == 0);      // overlong
  CHECK(FindInvalidUtf8("\xF0\x8F\xBF\xBF") == 0);  // overlong
  CHECK(FindInvalidUtf8("\xED\xA0\x80") == 0);      // surrogate
  CHECK(FindInvalidUtf8("\xF4\x90\x80\x80") == 0);  // beyond U+10FFFF
  CHECK(FindInvalidUtf8("a\x80") == 1);             // lone continuation
  CHECK(FindInvalidUtf8("a\xE2\x82") == 1);         // cut off
}

TEST_CASE("Truncation ends between characters") {
  CHECK(TruncateUtf8("aä€", 10) == "aä€");
  CHECK(TruncateUtf8("aä€", 6) == "aä€");
  CHECK(TruncateUtf8("aä€", 5) == "aä");
  CHECK(TruncateUtf8("aä€", 2) == "a");
  CHECK(TruncateUtf8("aä€", 0).empty());
}

TEST_CASE("Nothing printable controls the terminal") {
  CHECK(Printable("a\x1b[2Jb\r\x07\x7f") == "a?[2Jb???");
  CHECK(Printable("tab\tnewline\n ä") == "tab\tnewline\n ä");
  CHECK(Printable("\xC2\x9B"
                  "31m") == "?31m");  // C1: the one-character escape sequence
  CHECK(Printable("\xC2\xA9 \xff") == "© ?");
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::string noise(random() % 20, '\0');
    for (char& c : noise) {
      c = static_cast<char>(random());
    }
    const std::string printable = Printable(noise);
    CHECK(FindInvalidUtf8(printable) == std::string::npos);
    CHECK(printable.find('\x1b') == std::string::npos);
    CHECK(CountChars(OneLine(noise, 8)) <= 8);
    CHECK(FindInvalidUtf8(OneLine(noise, 8)) == std::string::npos);
    Wrap(noise, 2, 5);
  }
}

TEST_CASE("Lines, durations and sizes read well") {
  CHECK(OneLine("  two\n words  ", 20) == "two words");
  CHECK(OneLine("0123456789", 8) == "01234...");
  CHECK(Wrap("aaa bbb ccc", 2, 9) == "  aaa bbb\n  ccc\n");
  CHECK(FormatUs(999) == "999 us");
  CHECK(FormatUs(12'340) == "12.3 ms");
  CHECK(FormatUs(2'340'000) == "2.34 s");
  CHECK(FormatBytes(512) == "512 B");
  CHECK(FormatBytes(1536) == "1.5 KiB");
  CHECK(FormatBytes(int64_t{3} << 30) == "3.0 GiB");
  CHECK(EnumWord("WORK_CLASS_SEARCH_BULK", "WORK_CLASS_") == "search_bulk");
}

TEST_CASE("A table aligns by characters, not bytes") {
  Table table({"name", ">n", "why"});
  table.AddRow({"ä", "7", "x"});
  table.AddRow({"long", "1234", ""});
  std::ostringstream out;
  table.Print(out, "  ");
  CHECK(out.str() == "  name     n  why\n  ä        7  x\n  long  1234\n");
}

TEST_CASE("Vectors are parsed whole or refused with the value named") {
  const auto vector = ParseVector("1, -2.5,3e2");
  REQUIRE_OK(vector);
  CHECK(*vector == std::vector<float>{1, -2.5, 300});
  for (const char* text : {"", "1,,2", "1,2,", "a", "1;2", "1,nan", "1,inf", "1e99"}) {
    CAPTURE(text);
    REQUIRE_STATUS(ParseVector(text), absl::StatusCode::kInvalidArgument, "not a finite number");
  }
  REQUIRE_STATUS(ParseVector("1,x"), absl::StatusCode::kInvalidArgument, "value 2, \"x\"");
  std::string many = "1";
  for (int i = 0; i < 65'536; ++i) {
    many += ",1";
  }
  REQUIRE_STATUS(ParseVector(many), absl::StatusCode::kInvalidArgument, "more than 65536");
}

}  // namespace
}  // namespace baton::ctl
