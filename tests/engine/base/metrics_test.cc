#include "engine/base/metrics.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "prometheus/text_serializer.h"

namespace baton {
namespace {

std::string Scrape(const Metrics& metrics) {
  return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST_CASE("the table has every metric once and by Prometheus' conventions") {
  REQUIRE(MetricTable().size() == static_cast<size_t>(MetricId::kCount));
  std::set<std::string> names;
  size_t index = 0;
  for (const MetricRow& row : MetricTable()) {
    CAPTURE(row.name);
    CHECK(static_cast<size_t>(row.id) == index++);
    CHECK(names.insert(row.name).second);
    CHECK(std::regex_match(row.name, std::regex("(baton|process)_[a-z0-9_]+")));
    const std::string name = row.name;
    CHECK((row.kind == MetricKind::kCounter) == name.ends_with("_total"));
    CHECK((row.kind == MetricKind::kHistogram) == !row.buckets.empty());
    CHECK(std::is_sorted(row.buckets.begin(), row.buckets.end()));
    CHECK(std::string(row.unit) != "");
    CHECK(std::string(row.meaning).size() > 5);
    CHECK(std::string(row.meaning).find('|') == std::string::npos);  // it stands in a table
    const bool seconds = std::string(row.unit) == "seconds";
    CHECK(seconds == (name.find("_seconds") != name.npos));
    for (const std::string& label : row.labels) {
      CHECK(std::regex_match(label, std::regex("[a-z_]+")));
    }
    CHECK(std::set<std::string>(row.labels.begin(), row.labels.end()).size() == row.labels.size());
  }
}

TEST_CASE("every metric of the table can be counted and is told with its meaning") {
  Metrics metrics;
  for (const MetricRow& row : MetricTable()) {
    CAPTURE(row.name);
    const std::string label = "x";
    const auto with = [&](auto&& get) {
      switch (row.labels.size()) {
        case 0:
          return get({});
        case 1:
          return get({label});
        case 2:
          return get({label, label});
        case 3:
          return get({label, label, label});
        default:
          REQUIRE(row.labels.size() == 4);
          return get({label, label, label, label});
      }
    };
    with([&](std::initializer_list<std::string_view> labels) {
      if (row.kind == MetricKind::kCounter) metrics.Counter(row.id, labels).Increment();
      if (row.kind == MetricKind::kGauge) metrics.Gauge(row.id, labels).Set(1);
      if (row.kind == MetricKind::kHistogram) metrics.Histogram(row.id, labels).Observe(1);
    });
  }
  const std::string text = Scrape(metrics);
  for (const MetricRow& row : MetricTable()) {
    CAPTURE(row.name);
    CHECK_THAT(text, Catch::Contains("# HELP " + std::string(row.name) + " " + row.meaning + "\n"));
    CHECK_THAT(text, Catch::Contains("# TYPE " + std::string(row.name) + " " +
                                     std::string(Name(row.kind)) + "\n"));
  }
}

TEST_CASE("the page in deploy is the table") {
  std::ifstream file(BATON_SOURCE_DIR "/deploy/METRICS.md");
  std::stringstream page;
  page << file.rdbuf();
  INFO("batond --print-metrics > deploy/METRICS.md");
  CHECK(page.str() == MetricsPage());
}

TEST_CASE("a series counts, shows up in the scrape, and can be forgotten") {
  Metrics metrics;
  metrics.Counter(MetricId::kRequests, {"Ask", "OK"}).Increment();
  metrics.Counter(MetricId::kRequests, {"Ask", "OK"}).Increment();
  metrics.Gauge(MetricId::kPoints, {"docs"}).Set(3);
  metrics.Histogram(MetricId::kTimeToFirstTokenSeconds).Observe(0.003);
  CHECK_THAT(Scrape(metrics),
             Catch::Contains("baton_requests_total{code=\"OK\",method=\"Ask\"} 2"));
  CHECK_THAT(Scrape(metrics), Catch::Contains("baton_points{collection=\"docs\"} 3"));
  CHECK_THAT(Scrape(metrics), Catch::Contains("baton_time_to_first_token_seconds_count 1"));
  metrics.RemoveGauge(MetricId::kPoints, {"docs"});
  metrics.RemoveGauge(MetricId::kPoints, {"docs"});  // nothing
  CHECK_THAT(Scrape(metrics), !Catch::Contains("collection=\"docs\""));
}

TEST_CASE("metrics without labels are told before anything has happened") {
  const Metrics metrics;
  CHECK_THAT(Scrape(metrics), Catch::Contains("\nbaton_preemptions_total 0\n"));
  CHECK_THAT(Scrape(metrics), Catch::Contains("\nbaton_generate_seconds_count 0\n"));
}

TEST_CASE("a metric has so many series and no more") {
  Metrics metrics;
  for (size_t i = 0; i < Metrics::kSeriesMax + 7; ++i) {
    metrics.Gauge(MetricId::kPoints, {"c" + std::to_string(i)}).Set(1);
    metrics.Counter(MetricId::kHandoffs, {"p" + std::to_string(i)}).Increment();
  }
  const std::string text = Scrape(metrics);
  CHECK(Count(text, "\nbaton_points{") == Metrics::kSeriesMax);
  CHECK(Count(text, "\nbaton_handoffs_total{") == Metrics::kSeriesMax + 1);
  CHECK_THAT(text, Catch::Contains("baton_handoffs_total{path=\"other\"} 7\n"));
  CHECK_THAT(text,
             Catch::Contains("baton_metric_series_refused_total{metric=\"baton_points\"} 7\n"));
  // Those that are there go on, and one that goes makes room.
  metrics.Counter(MetricId::kHandoffs, {"p3"}).Increment();
  CHECK(metrics.Counter(MetricId::kHandoffs, {"p3"}).Value() == 2);
  metrics.RemoveGauge(MetricId::kPoints, {"c0"});
  metrics.RemoveGauge(MetricId::kPoints, {"c" + std::to_string(Metrics::kSeriesMax)});  // untold
  metrics.Gauge(MetricId::kPoints, {"late"}).Set(5);
  CHECK_THAT(Scrape(metrics), Catch::Contains("baton_points{collection=\"late\"} 5\n"));
}

}  // namespace
}  // namespace baton
