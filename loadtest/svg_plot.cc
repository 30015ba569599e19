#include "loadtest/svg_plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "absl/strings/str_format.h"
#include "engine/base/strings.h"

namespace baton::load {
namespace {

constexpr double kWidth = 640;
constexpr double kHeight = 320;
constexpr double kLeft = 64;
constexpr double kRight = 16;
constexpr double kTop = 32;
constexpr double kBottom = 48;
// Okabe and Ito 2008: told apart by the colour-blind, too.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                    "#e69f00", "#56b4e9", "#000000"};

const char* ColourOf(size_t index) { return kColours[index % std::size(kColours)]; }

std::string Number(double value) { return absl::StrFormat("%.6g", value); }

std::string Begin(const PlotOptions& options, double height) {
  return absl::StrFormat(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" id=\"%s\" class=\"plot\" role=\"img\" "
      "viewBox=\"0 0 %g %g\">\n<title>%s</title>\n"
      "<text class=\"title\" x=\"%g\" y=\"18\">%s</text>\n",
      EscapeXml(options.id), kWidth, height, EscapeXml(options.title), kLeft,
      EscapeXml(options.title));
}

std::string Text(const char* kind, double x, double y, const char* anchor, const std::string& text,
                 const std::string& more = "") {
  return absl::StrFormat(
      "<text class=\"%s\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s>%s</text>\n", kind, x, y,
      anchor, more, EscapeXml(text));
}

// Where values of one axis are drawn.
class Axis {
 public:
  Axis(double low, double high, bool log, double from, double to)
      : log_(log), from_(from), to_(to) {
    if (log_) {
      low_ = std::floor(std::log10(low));
      high_ = std::max(std::ceil(std::log10(high)), low_ + 1);
      for (double power = low_; power <= high_; ++power) ticks_.push_back(std::pow(10, power));
    } else {
      ticks_ = RoundTicks(low, high, 6);
      low_ = ticks_.front();
      high_ = ticks_.back();
    }
  }

  double At(double value) const {
    const double position = log_ ? std::log10(value) : value;
    return from_ + (to_ - from_) * (position - low_) / (high_ - low_);
  }
  const std::vector<double>& ticks() const { return ticks_; }

 private:
  const bool log_;
  const double from_;
  const double to_;
  double low_ = 0;
  double high_ = 1;
  std::vector<double> ticks_;
};

std::string Legend(const std::vector<std::string>& labels) {
  std::string svg;
  double x = kWidth - kRight;
  for (size_t i = labels.size(); i-- > 0;) {
    x -= 22 + 6.5 * static_cast<double>(labels[i].size());
    svg += absl::StrFormat("<rect x=\"%.1f\" y=\"9\" width=\"10\" height=\"10\" fill=\"%s\"/>\n", x,
                           ColourOf(i));
    svg += Text("legend", x + 14, 18, "start", labels[i]);
  }
  return svg;
}

std::string Nothing(const PlotOptions& options) {
  return Begin(options, kHeight) +
         Text("label", kWidth / 2, kHeight / 2, "middle", "nothing was measured") + "</svg>\n";
}

}  // namespace

std::string EscapeXml(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\n':
      case '\t':
        escaped += ' ';
        break;
      default:
        // Bytes above ASCII could be half a character, and most control characters are not XML.
        escaped += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return escaped;
}

std::vector<double> RoundTicks(double low, double high, int count) {
  if (!(high > low)) high = low + (low == 0 ? 1 : std::max(1e-9, std::abs(low) * 0.1));
  const double raw = (high - low) / std::max(count, 1);
  const double power = std::pow(10, std::floor(std::log10(raw)));
  double step = power;
  for (const double factor : {1.0, 2.0, 5.0, 10.0}) {
    step = factor * power;
    if (step >= raw) break;
  }
  std::vector<double> ticks;
  const double first = std::floor(low / step + 1e-9);
  const double last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  if (ticks.size() < 2) ticks.push_back(ticks.front() + step);
  return ticks;
}

std::string LinePlot(const PlotOptions& options, const std::vector<PlotSeries>& series) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  double x_low = kInfinity;
  double x_high = -kInfinity;
  double y_low = options.y_from_zero ? 0 : kInfinity;
  double y_high = -kInfinity;
  const auto drawn = [&](double x) { return !options.x_log || x > 0; };
  for (const PlotSeries& one : series) {
    for (const auto& [x, y] : one.points) {
      if (!drawn(x)) continue;
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
  }
  if (x_low > x_high) return Nothing(options);
  const Axis x_axis(x_low, x_high, options.x_log, kLeft, kWidth - kRight);
  const Axis y_axis(y_low, y_high, false, kHeight - kBottom, kTop);
  std::string svg = Begin(options, kHeight);
  for (const double tick : x_axis.ticks()) {
    const double x = x_axis.At(tick);
    svg += absl::StrFormat("<line class=\"grid\" x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/>\n",
                           x, kTop, x, kHeight - kBottom);
    svg += Text("tick", x, kHeight - kBottom + 16, "middle", Number(tick));
  }
  for (const double tick : y_axis.ticks()) {
    const double y = y_axis.At(tick);
    svg += absl::StrFormat("<line class=\"grid\" x1=\"%g\" y1=\"%.1f\" x2=\"%g\" y2=\"%.1f\"/>\n",
                           kLeft, y, kWidth - kRight, y);
    svg += Text("tick", kLeft - 6, y + 4, "end", Number(tick));
  }
  svg += Text("label", (kLeft + kWidth - kRight) / 2, kHeight - 10, "middle", options.x_label);
  const double middle = (kTop + kHeight - kBottom) / 2;
  svg += Text("label", 14, middle, "middle", options.y_label,
              absl::StrFormat(" transform=\"rotate(-90 14 %.1f)\"", middle));
  std::vector<std::string> labels;
  for (size_t i = 0; i < series.size(); ++i) {
    labels.push_back(series[i].label);
    std::string points;
    std::string dots;
    const auto& all = series[i].points;
    const bool alone = std::count_if(all.begin(), all.end(),
                                     [&](const auto& point) { return drawn(point.first); }) == 1;
    for (const auto& [x, y] : all) {
      if (!drawn(x)) continue;
      points += absl::StrFormat("%.1f,%.1f ", x_axis.At(x), y_axis.At(y));
      if (options.markers || alone) {  // a line of one point has no ink
        dots += absl::StrFormat("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>\n",
                                x_axis.At(x), y_axis.At(y), ColourOf(i));
      }
    }
    svg += absl::StrFormat("<polyline class=\"curve\" stroke=\"%s\" points=\"%s\"/>\n%s",
                           ColourOf(i), points, dots);
  }
  return svg + Legend(labels) + "</svg>\n";
}

std::string BarPlot(const PlotOptions& options, const std::vector<std::string>& part_labels,
                    const std::vector<StackedBar>& bars) {
  double longest = 0;
  for (const StackedBar& bar : bars) {
    double sum = 0;
    for (const double part : bar.parts) sum += part;
    longest = std::max(longest, sum);
  }
  if (bars.empty() || !(longest > 0)) return Nothing(options);
  constexpr double kBarHeight = 26;
  const double bottom = kTop + kBarHeight * static_cast<double>(bars.size());
  const double left = kLeft + 40;
  const Axis axis(0, longest, false, left, kWidth - kRight);
  std::string svg = Begin(options, bottom + kBottom);
  for (const double tick : axis.ticks()) {
    const double x = axis.At(tick);
    svg += absl::StrFormat("<line class=\"grid\" x1=\"%.1f\" y1=\"%g\" x2=\"%.1f\" y2=\"%g\"/>\n",
                           x, kTop, x, bottom);
    svg += Text("tick", x, bottom + 16, "middle", Number(tick));
  }
  svg += Text("label", (left + kWidth - kRight) / 2, bottom + 38, "middle", options.x_label);
  for (size_t i = 0; i < bars.size(); ++i) {
    const double y = kTop + kBarHeight * static_cast<double>(i) + 4;
    svg += Text("tick", left - 6, y + 13, "end", bars[i].label);
    double begin = 0;
    for (size_t part = 0; part < bars[i].parts.size(); ++part) {
      const double end = begin + bars[i].parts[part];
      svg += absl::StrFormat(
          "<rect class=\"bar\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%g\" fill=\"%s\"/>\n",
          axis.At(begin), y, std::max(0.0, axis.At(end) - axis.At(begin)), kBarHeight - 8,
          ColourOf(part));
      begin = end;
    }
  }
  return svg + Legend(part_labels) + "</svg>\n";
}

}  // namespace baton::load
