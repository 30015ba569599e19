#include "engine/model/grammar/utf8_ranges.h"

#include <random>
#include <string>

#include "catch2/catch.hpp"
#include "engine/model/utf8.h"

namespace baton {
namespace {

int Matches(const std::vector<Utf8Range>& forms, const std::string& bytes) {
  int matches = 0;
  for (const Utf8Range& form : forms) {
    bool all = static_cast<size_t>(form.bytes) == bytes.size();
    for (size_t i = 0; all && i < bytes.size(); ++i) {
      const auto byte = static_cast<uint8_t>(bytes[i]);
      all = byte >= form.low[i] && byte <= form.high[i];
    }
    matches += all ? 1 : 0;
  }
  return matches;
}

TEST_CASE("forms hold the code points of a range, each once, and no others", "[utf8_ranges]") {
  std::mt19937 random(Catch::rngSeed());
  std::vector<char32_t> edges = {0,       0x7F,    0x80,    0x7FF,   0x800,  0xFFF,
                                 0x1000,  0xD7FF,  0xE000,  0xFFFD,  0xFFFF, 0x10000,
                                 0x3FFFF, 0x40000, 0xFFFFF, 0x10FFFF};
  for (int i = 0; i < 40; ++i) {
    const char32_t at = random() % (i % 2 == 0 ? 0x110000 : 0x3000);
    edges.push_back(at >= 0xD800 && at < 0xE000 ? 0xD7FF : at);
  }
  std::vector<char32_t> samples = edges;
  for (const char32_t edge : edges) {
    samples.push_back(edge == 0 || edge == 0xE000 ? edge : edge - 1);
    samples.push_back(edge == 0x10FFFF || edge == 0xD7FF ? edge : edge + 1);
  }
  for (const char32_t first : edges) {
    for (const char32_t last : edges) {
      if (first > last || (first < 0xD800 && last > 0xDFFF)) {
        continue;
      }
      std::vector<Utf8Range> forms;
      AppendUtf8Ranges({first, last}, forms);
      CHECK(forms.size() <= 7 + 4);
      for (const char32_t sample : samples) {
        std::string bytes;
        AppendUtf8(sample, bytes);
        const int expected = sample >= first && sample <= last ? 1 : 0;
        if (Matches(forms, bytes) != expected) {
          CAPTURE(uint32_t{first}, uint32_t{last}, uint32_t{sample});
          CHECK(Matches(forms, bytes) == expected);
        }
      }
    }
  }
}

}  // namespace
}  // namespace baton
