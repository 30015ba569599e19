#include "loadtest/svg_plot.h"  // header under test

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <vector>

namespace baton::load {
namespace {

// Whether all elements are closed in order, attributes quoted and no character is unescaped: what a
// strict XML parser would refuse otherwise. Names that were opened go to `elements`.
bool IsWellFormed(const std::string& xml, std::vector<std::string>& elements) {
  std::vector<std::string> open;
  for (size_t at = 0; at < xml.size();) {
    if (xml[at] == '&') {
      const size_t end = xml.find(';', at);
      if (end == std::string::npos || end - at > 5) return false;
      at = end + 1;
    } else if (xml[at] == '<') {
      const size_t end = xml.find('>', at);
      if (end == std::string::npos) return false;
      const std::string tag = xml.substr(at + 1, end - at - 1);
      if (tag.find('<') != std::string::npos) return false;
      if (tag.front() == '/') {
        if (open.empty() || open.back() != tag.substr(1)) return false;
        open.pop_back();
      } else {
        const std::string name = tag.substr(0, tag.find_first_of(" /"));
        elements.push_back(name);
        if (std::count(tag.begin(), tag.end(), '"') % 2 != 0) return false;
        if (tag.back() != '/') open.push_back(name);
      }
      at = end + 1;
    } else if (xml[at] == '>') {
      return false;
    } else {
      ++at;
    }
  }
  return open.empty();
}

TEST_CASE("A line plot is well-formed and has its curves within the frame") {
  const std::string svg =
      LinePlot({.id = "p", .title = "a < b & \"c\"", .x_label = "x", .y_label = "y"},
               {{.label = "one", .points = {{0, 0}, {1, 2}, {2, 1}}},
                {.label = "two", .points = {{0, 1}, {2, 3}}}});
  std::vector<std::string> elements;
  REQUIRE(IsWellFormed(svg, elements));
  CHECK(std::count(elements.begin(), elements.end(), "polyline") == 2);
  CHECK(svg.find("a &lt; b &amp; &quot;c&quot;") != std::string::npos);
  CHECK(svg.find("nan") == std::string::npos);
  CHECK(svg.find("inf") == std::string::npos);
}

TEST_CASE("Plots of little or nothing are well-formed, too") {
  std::vector<std::string> elements;
  const PlotOptions log{.id = "p", .title = "t", .x_label = "x", .y_label = "y", .x_log = true};
  for (const auto& points : std::vector<std::vector<std::pair<double, double>>>{
           {}, {{0, 1}}, {{5, 5}}, {{1e-9, 0}, {1e9, 1}}}) {
    const std::string svg = LinePlot(log, {{.label = "l", .points = points}});
    CHECK(IsWellFormed(svg, elements));
    CHECK(svg.find("nan") == std::string::npos);
  }
  CHECK(LinePlot(log, {}).find("nothing was measured") != std::string::npos);
  CHECK(BarPlot(log, {"a"}, {}).find("nothing was measured") != std::string::npos);
  CHECK(IsWellFormed(BarPlot(log, {"a", "b"}, {{.label = "x", .parts = {1, 2}}}), elements));
}

TEST_CASE("A single point is a dot, on an axis of plain numbers") {
  const PlotOptions options = {.id = "one", .title = "t", .x_label = "x", .y_label = "y"};
  const std::string one = LinePlot(options, {{.label = "l", .points = {{0, 3}}}});
  CHECK(one.find("<circle") != std::string::npos);
  CHECK(one.find("e-") == std::string::npos);
  const std::string two = LinePlot(options, {{.label = "l", .points = {{0, 3}, {1, 4}}}});
  CHECK(two.find("<circle") == std::string::npos);
}

TEST_CASE("Ticks are round, cover the range and are about as many as asked for") {
  for (const auto& [low, high] : std::vector<std::pair<double, double>>{
           {0, 1}, {0, 97}, {0.013, 0.021}, {-5, 12}, {3, 3}, {0, 1e12}, {0, 1e-12}}) {
    CAPTURE(low, high);
    const auto ticks = RoundTicks(low, high, 6);
    REQUIRE(ticks.size() >= 2);
    CHECK(ticks.size() <= 14);
    CHECK(ticks.front() <= low + 1e-12 * std::abs(low));
    CHECK(ticks.back() >= high * (1 - 1e-9));
  }
}

TEST_CASE("What XML cannot hold is replaced") {
  CHECK(EscapeXml(std::string("a\x01\xff\0b", 5)) == "a???b");
  CHECK(EscapeXml("x>y\n") == "x&gt;y ");
}

}  // namespace
}  // namespace baton::load
