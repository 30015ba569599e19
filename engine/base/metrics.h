#pragma once

#include <memory>
#include <string_view>

#include "engine/base/metric_table.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace baton {

// The metrics of metric_table.h, as they are counted. Thread safe, and so are handles, which cost a
// few nanoseconds; to ask for one costs about a hundred. Those without labels are told from the
// start. Reading them, as a scrape does, takes no lock but that of one metric's list of series.
//
// A metric has at most kSeriesMax series: beyond that, counters and histograms share one whose
// labels are all "other", gauges are not told, and baton_metric_series_refused_total counts it. So
// what clients name, such as collections, cannot fill the memory of whoever scrapes.
class Metrics {
 public:
  static constexpr size_t kSeriesMax = 1000;

  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // `labels` are values in the order of the table's label names. The returned handle lives as long
  // as this object. CHECKs the metric's type and its number of labels: both are ours to get right.
  prometheus::Counter& Counter(MetricId id, std::initializer_list<std::string_view> labels = {});
  prometheus::Gauge& Gauge(MetricId id, std::initializer_list<std::string_view> labels = {});
  prometheus::Histogram& Histogram(MetricId id,
                                   std::initializer_list<std::string_view> labels = {});
  // Forgets one series, e.g. of a dropped collection. Its handle must not be used afterwards.
  void RemoveGauge(MetricId id, std::initializer_list<std::string_view> labels);

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  struct Family;
  void CountRefused(const Family& family);

  std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<Family[]> families_;  // [MetricId::kCount]
  prometheus::Gauge untold_;            // stands in for gauges beyond kSeriesMax
};

}  // namespace baton
