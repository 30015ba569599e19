#include "loadtest/html_report.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <sstream>

#include "engine/base/strings.h"
#include "loadtest/report.h"
#include "loadtest/svg_plot.h"

namespace baton::load {
namespace {

using nlohmann::json;

constexpr const char* kHead = R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<title>Baton load report</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1340px; padding: 0 1em;
  color: #222; background: #fff; }
h2 { border-top: 1px solid #bbb; padding-top: 1em; }
pre { font-size: 12.5px; overflow-x: auto; background: #f6f6f6; padding: 1em; }
.warning { background: #fff3cd; padding: .6em 1em; white-space: pre-line; }
.plots { display: flex; flex-wrap: wrap; gap: 1em; }
svg.plot { width: 640px; max-width: 100%; border: 1px solid #ddd; }
svg .title { font: bold 13px sans-serif; }
svg .tick, svg .legend { font: 11px sans-serif; fill: #444; }
svg .label { font: 12px sans-serif; fill: #222; }
svg .grid { stroke: #e4e4e4; stroke-width: 1; }
svg .curve { fill: none; stroke-width: 2; }
</style></head><body>
<h1>Baton load report</h1>
)";

double NumberAt(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : 0;
}

std::string StringAt(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end()) return "";
  return found->is_string() ? found->get<std::string>() : found->dump();
}

std::string LatencyPlot(const std::string& id, const json& document) {
  std::vector<PlotSeries> series;
  for (const auto& [key, label] :
       std::initializer_list<std::pair<const char*, const char*>>{{"retrieved_ms", "retrieved"},
                                                                  {"ttft_ms", "TTFT"},
                                                                  {"itl_ms", "ITL"},
                                                                  {"tpot_ms", "TPOT"},
                                                                  {"e2e_ms", "E2E"}}) {
    if (!document["cdf"].contains(key)) continue;
    PlotSeries one{.label = label, .points = {}};
    for (const json& point : document["cdf"][key]) {
      one.points.emplace_back(point[0].get<double>(), point[1].get<double>());
    }
    series.push_back(std::move(one));
  }
  return LinePlot({.id = id + "-latency",
                   .title = "Latency, cumulative",
                   .x_label = "milliseconds",
                   .y_label = "share of samples",
                   .x_log = true},
                  series);
}

std::string ThroughputPlot(const std::string& id, const json& document) {
  std::vector<PlotSeries> series = {{.label = "sent", .points = {}},
                                    {.label = "ok", .points = {}},
                                    {.label = "failed", .points = {}}};
  const json& timeline = document["timeline"];
  for (size_t i = 0; i < timeline.size(); ++i) {
    const auto at = static_cast<double>(i);
    for (PlotSeries& one : series) {
      one.points.emplace_back(at, NumberAt(timeline[i], one.label.c_str()));
    }
  }
  return LinePlot({.id = id + "-throughput",
                   .title = "Requests by second",
                   .x_label = "seconds from the start",
                   .y_label = "requests/s",
                   .x_log = false},
                  series);
}

// TTFT, or E2E of what streams nothing, against the rate.
std::string RatePlot(const std::string& id, const json& document) {
  bool streams = false;
  for (const json& step : document["sweep"]) streams |= NumberAt(step, "ttft_p50_ms") > 0;
  const char* median = streams ? "ttft_p50_ms" : "e2e_p50_ms";
  const char* tail = streams ? "ttft_p99_ms" : "e2e_p99_ms";
  std::vector<PlotSeries> series = {{.label = "p50", .points = {}}, {.label = "p99", .points = {}}};
  for (const json& step : document["sweep"]) {
    const double rate = NumberAt(step, "rate_per_s");
    series[0].points.emplace_back(rate, NumberAt(step, median));
    series[1].points.emplace_back(rate, NumberAt(step, tail));
  }
  for (PlotSeries& one : series) std::sort(one.points.begin(), one.points.end());
  return LinePlot({.id = id + "-rate",
                   .title = streams ? "TTFT against rate" : "E2E against rate",
                   .x_label = "requests/s that were meant to be sent",
                   .y_label = "milliseconds",
                   .markers = true},
                  series);
}

std::string GoodputPlot(const std::string& id, const json& document) {
  std::vector<PlotSeries> series = {{.label = "goodput", .points = {}},
                                    {.label = "ok", .points = {}}};
  for (const json& step : document["sweep"]) {
    const double rate = NumberAt(step, "rate_per_s");
    series[0].points.emplace_back(rate, NumberAt(step, "goodput_per_s"));
    series[1].points.emplace_back(rate, NumberAt(step, "ok_per_s"));
  }
  for (PlotSeries& one : series) std::sort(one.points.begin(), one.points.end());
  return LinePlot({.id = id + "-goodput",
                   .title = "Goodput against rate",
                   .x_label = "requests/s that were meant to be sent",
                   .y_label = "requests/s",
                   .markers = true},
                  series);
}

std::string StagePlot(const std::string& id, const json& document) {
  std::vector<StackedBar> bars;
  for (const json& stage : document["stages"]) {
    bars.push_back({.label = StringAt(stage, "name"),
                    .parts = {NumberAt(stage, "queue_ms"), NumberAt(stage, "run_ms")}});
  }
  return BarPlot({.id = id + "-stages",
                  .title = "Stages, mean of a request",
                  .x_label = "milliseconds",
                  .y_label = ""},
                 {"queue", "run"}, bars);
}

}  // namespace

std::string RenderHtml(const std::vector<std::pair<std::string, json>>& documents) {
  std::string html = kHead;
  for (size_t i = 0; i < documents.size(); ++i) {
    const auto& [title, document] = documents[i];
    const std::string id = StrCat("run", i);
    html += StrCat("<h2>", EscapeXml(title), "</h2>\n");
    if (const std::string warnings = Warnings(document); !warnings.empty()) {
      html += "<p class=\"warning\">";
      std::istringstream lines(warnings);
      for (std::string line; std::getline(lines, line);) html += EscapeXml(line) + "\n";
      html += "</p>\n";
    }
    html += "<div class=\"plots\">\n";
    if (document.contains("sweep")) html += RatePlot(id, document) + GoodputPlot(id, document);
    html += LatencyPlot(id, document) + ThroughputPlot(id, document) + StagePlot(id, document);
    html += "</div>\n<pre>";
    std::ostringstream table;
    PrintTable(document, table);
    std::istringstream lines(table.str());
    for (std::string line; std::getline(lines, line);) html += EscapeXml(line) + "\n";
    html += "</pre>\n";
    if (document.contains("machine")) {
      html += StrCat("<p>Measured on ", EscapeXml(StringAt(document["machine"], "cpu")), ", ",
                     EscapeXml(StringAt(document["machine"], "cores")), " cores, commit ",
                     EscapeXml(StringAt(document, "commit")), ".</p>\n");
    }
  }
  return html + "</body></html>\n";
}

}  // namespace baton::load
