#include "engine/model/stop_scanner.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <string>
#include <vector>

namespace baton {
namespace {

using Strings = std::vector<std::string>;

TEST_CASE("text before a stop string is shown, what may become one is held back") {
  const Strings stops = {"\n\n", "END"};
  StopScanner scanner(stops);
  CHECK(scanner.Push("a line\n") == "a line");
  CHECK(scanner.Push("b") == "\nb");
  CHECK(scanner.Push(" E") == " ");
  CHECK(scanner.Push("N") == "");
  CHECK(scanner.Push("E") == "EN");
  CHECK(scanner.Push("NDless") == "");
  CHECK(scanner.found() == size_t{1});
  CHECK(scanner.Push("more") == "");
  CHECK(scanner.Finish() == "");
}

TEST_CASE("what is held back is text where nothing comes of it") {
  const Strings stops = {"stop"};
  StopScanner scanner(stops);
  CHECK(scanner.Push("don't sto") == "don't ");
  CHECK(scanner.Finish() == "sto");
  CHECK_FALSE(scanner.found());
}

TEST_CASE("the stop string that ends first ends the text; of two at once the longer one") {
  const Strings stops = {"abcd", "bc", "xbc"};
  StopScanner scanner(stops);
  CHECK(scanner.Push("12abcd") == "12a");
  CHECK(scanner.found() == size_t{1});
  StopScanner longer(stops);
  CHECK(longer.Push("12xbcd") == "12");
  CHECK(longer.found() == size_t{2});
}

TEST_CASE("where it may not stop, a stop string is text, but it may still begin one") {
  const Strings stops = {"aba"};
  StopScanner scanner(stops);
  CHECK(scanner.Push("xaba", /*may_stop=*/false) == "xab");
  CHECK(scanner.Push("ba") == "");  // the last a of the first one begins another
  CHECK(scanner.found() == size_t{0});
}

TEST_CASE("without stop strings text passes") {
  StopScanner scanner({});
  CHECK(scanner.Push("any") == "any");
  CHECK(scanner.Finish() == "");
}

// The first stop string of a whole text, by trying every end; nothing before `from` may be an end.
struct Found {
  size_t stop;
  size_t begin;
};
std::optional<Found> FindNaively(const std::string& text, const Strings& stops, size_t from) {
  for (size_t end = from + 1; end <= text.size(); ++end) {
    std::optional<Found> found;
    for (size_t i = 0; i < stops.size(); ++i) {
      if (!text.substr(0, end).ends_with(stops[i])) continue;
      const size_t begin = end - stops[i].size();
      if (!found || begin < found->begin) found = Found{.stop = i, .begin = begin};
    }
    if (found) return found;
  }
  return std::nullopt;
}

TEST_CASE("however a text is cut, the outcome is that of the whole text") {
  const auto seed = std::random_device{}();
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto draw = [&random](size_t length) {
    std::string text(length, ' ');
    for (char& byte : text) byte = static_cast<char>('a' + random() % 2);
    return text;
  };
  int found_count = 0;
  for (int round = 0; round < 3000; ++round) {
    Strings stops(1 + random() % 4);
    for (std::string& stop : stops) stop = draw(1 + random() % 9);
    std::vector<std::string> pieces(random() % 12);
    for (std::string& piece : pieces) piece = draw(random() % 6);
    const size_t quiet = random() % 4;  // pieces that end nothing

    std::string text;
    size_t from = 0;
    for (size_t i = 0; i < pieces.size(); ++i) {
      text += pieces[i];
      if (i < quiet) from = text.size();
    }
    const auto want = FindNaively(text, stops, from);

    StopScanner scanner(stops);
    std::string shown;
    std::string pushed;
    for (size_t i = 0; i < pieces.size(); ++i) {
      shown += scanner.Push(pieces[i], i >= quiet);
      pushed += pieces[i];
      if (scanner.found()) break;
      // No more is held back than may begin a stop string, and no less.
      REQUIRE(pushed.starts_with(shown));
      const std::string held = pushed.substr(shown.size());
      size_t longest = 0;
      for (const std::string& stop : stops) {
        for (size_t length = std::min(stop.size() - 1, pushed.size()); length > longest; --length) {
          if (pushed.ends_with(stop.substr(0, length))) longest = length;
        }
      }
      REQUIRE(held.size() == longest);
    }
    shown += scanner.Finish();
    CAPTURE(text, stops, pieces, quiet);
    REQUIRE(scanner.found().has_value() == want.has_value());
    REQUIRE(shown == (want ? text.substr(0, want->begin) : text));
    // Of equal strings either may be named.
    if (want) REQUIRE(stops[*scanner.found()] == stops[want->stop]);
    found_count += want.has_value();
  }
  CHECK(found_count > 300);
  CHECK(found_count < 2990);
}

}  // namespace
}  // namespace baton
