#include "engine/base/metrics.h"

#include <atomic>
#include <string>

#include "engine/base/check.h"

namespace baton {

struct Metrics::Family {
  const MetricRow* row = nullptr;
  prometheus::Family<prometheus::Counter>* counter = nullptr;
  prometheus::Family<prometheus::Gauge>* gauge = nullptr;
  prometheus::Family<prometheus::Histogram>* histogram = nullptr;
  std::atomic<size_t> series = 0;

  prometheus::Labels Labels(std::initializer_list<std::string_view> values) const {
    BATON_CHECK(values.size() == row->labels.size());
    prometheus::Labels labels;
    size_t i = 0;
    for (const std::string_view value : values) labels.emplace(row->labels[i++], value);
    return labels;
  }
  prometheus::Labels Others() const {
    prometheus::Labels labels;
    for (const std::string& label : row->labels) labels.emplace(label, "other");
    return labels;
  }
};

Metrics::Metrics()
    : registry_(std::make_shared<prometheus::Registry>()),
      families_(std::make_unique<Family[]>(static_cast<size_t>(MetricId::kCount))) {
  BATON_CHECK(MetricTable().size() == static_cast<size_t>(MetricId::kCount));
  for (const MetricRow& row : MetricTable()) {
    Family& family = families_[static_cast<size_t>(row.id)];
    BATON_CHECK(family.row == nullptr);
    family.row = &row;
    switch (row.kind) {
      case MetricKind::kCounter:
        family.counter =
            &prometheus::BuildCounter().Name(row.name).Help(row.meaning).Register(*registry_);
        if (row.labels.empty()) family.counter->Add({});
        break;
      case MetricKind::kGauge:
        family.gauge =
            &prometheus::BuildGauge().Name(row.name).Help(row.meaning).Register(*registry_);
        if (row.labels.empty()) family.gauge->Add({});
        break;
      case MetricKind::kHistogram:
        family.histogram =
            &prometheus::BuildHistogram().Name(row.name).Help(row.meaning).Register(*registry_);
        if (row.labels.empty()) family.histogram->Add({}, row.buckets);
        break;
    }
  }
}

Metrics::~Metrics() = default;

template <class PrometheusFamily>
bool Metrics::Admit(Family& family, PrometheusFamily& series, const prometheus::Labels& labels) {
  if (series.Has(labels)) return true;
  // Two threads may pass at once: the bound is one of memory, not an exact one.
  if (family.series.load(std::memory_order_relaxed) >= kSeriesMax) {
    Counter(MetricId::kSeriesRefused, {family.row->name}).Increment();
    return false;
  }
  family.series.fetch_add(1, std::memory_order_relaxed);
  return true;
}

prometheus::Counter& Metrics::Counter(MetricId id, std::initializer_list<std::string_view> labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.counter != nullptr);
  const prometheus::Labels named = family.Labels(labels);
  return family.counter->Add(Admit(family, *family.counter, named) ? named : family.Others());
}

prometheus::Gauge& Metrics::Gauge(MetricId id, std::initializer_list<std::string_view> labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr);
  const prometheus::Labels named = family.Labels(labels);
  return Admit(family, *family.gauge, named) ? family.gauge->Add(named) : untold_;
}

prometheus::Histogram& Metrics::Histogram(MetricId id,
                                          std::initializer_list<std::string_view> labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.histogram != nullptr);
  const prometheus::Labels named = family.Labels(labels);
  return family.histogram->Add(Admit(family, *family.histogram, named) ? named : family.Others(),
                               family.row->buckets);
}

void Metrics::RemoveGauge(MetricId id, std::initializer_list<std::string_view> labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr);
  const prometheus::Labels named = family.Labels(labels);
  if (!family.gauge->Has(named)) return;
  family.gauge->Remove(&family.gauge->Add(named));
  family.series.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace baton
