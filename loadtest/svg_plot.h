#pragma once

#include <string>
#include <utility>
#include <vector>

namespace baton::load {

// One curve of a plot; values are finite.
struct PlotSeries {
  std::string label;
  std::vector<std::pair<double, double>> points;
};

struct PlotOptions {
  std::string id;  // of the svg element
  std::string title;
  std::string x_label;
  std::string y_label;
  bool x_log = false;  // x values of 0 and below are left out
  bool y_from_zero = true;
  bool markers = false;  // a dot at each point
};

// An svg element that is also well-formed XML: axes with round ticks, curves, a legend. With
// nothing to draw it says so.
std::string LinePlot(const PlotOptions& options, const std::vector<PlotSeries>& series);

// Horizontal bars, each of parts that add up, such as stages of queue and run.
struct StackedBar {
  std::string label;
  std::vector<double> parts;
};
std::string BarPlot(const PlotOptions& options, const std::vector<std::string>& part_labels,
                    const std::vector<StackedBar>& bars);

// For text and attributes of XML; what XML cannot hold becomes '?'.
std::string EscapeXml(const std::string& text);

// Round values from at most `low` to at least `high`, about `count` of them.
std::vector<double> RoundTicks(double low, double high, int count);

}  // namespace baton::load
