#include "engine/base/metrics.h"

#include <mutex>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "engine/base/check.h"

namespace baton {
namespace {

using LabelValues = std::initializer_list<std::string_view>;

// Unlike for unlike values, whatever bytes they have.
std::string KeyOf(LabelValues values) {
  std::string key;
  for (const std::string_view value : values) {
    const size_t size = value.size();
    key.append(reinterpret_cast<const char*>(&size), sizeof(size)).append(value);
  }
  return key;
}

}  // namespace

// Which series a metric has. prometheus::Family knows them too, but finds one by a map of its label
// names and values, and makes an object of what it shall add, buckets and all, before it looks.
struct Metrics::Family {
  const MetricRow* row = nullptr;
  prometheus::Family<prometheus::Counter>* counter = nullptr;
  prometheus::Family<prometheus::Gauge>* gauge = nullptr;
  prometheus::Family<prometheus::Histogram>* histogram = nullptr;

  std::mutex mutex;
  absl::flat_hash_map<std::string, void*> series;  // mutex: handles of the metric's kind, by KeyOf

  // The series of these labels. Where it is new `add` makes it, nullptr: there are too many.
  template <class Handle, class Add>
  Handle* Find(LabelValues values, const Add& add) {
    BATON_CHECK(values.size() == row->labels.size());
    std::string key = KeyOf(values);
    const std::lock_guard lock(mutex);
    if (const auto found = series.find(key); found != series.end()) {
      return static_cast<Handle*>(found->second);
    }
    if (series.size() >= kSeriesMax) return nullptr;
    Handle* const handle = add(Labels(values));
    series.emplace(std::move(key), handle);
    return handle;
  }
  prometheus::Labels Labels(LabelValues values) const {
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
        if (row.labels.empty()) Counter(row.id);
        break;
      case MetricKind::kGauge:
        family.gauge =
            &prometheus::BuildGauge().Name(row.name).Help(row.meaning).Register(*registry_);
        if (row.labels.empty()) Gauge(row.id);
        break;
      case MetricKind::kHistogram:
        family.histogram =
            &prometheus::BuildHistogram().Name(row.name).Help(row.meaning).Register(*registry_);
        if (row.labels.empty()) Histogram(row.id);
        break;
    }
  }
}

Metrics::~Metrics() = default;

prometheus::Counter& Metrics::Counter(MetricId id, LabelValues labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.counter != nullptr);
  const auto add = [&](const prometheus::Labels& named) { return &family.counter->Add(named); };
  if (auto* counter = family.Find<prometheus::Counter>(labels, add)) return *counter;
  CountRefused(family);
  return *add(family.Others());
}

prometheus::Gauge& Metrics::Gauge(MetricId id, LabelValues labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr);
  const auto add = [&](const prometheus::Labels& named) { return &family.gauge->Add(named); };
  if (auto* gauge = family.Find<prometheus::Gauge>(labels, add)) return *gauge;
  CountRefused(family);
  return untold_;
}

prometheus::Histogram& Metrics::Histogram(MetricId id, LabelValues labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.histogram != nullptr);
  const auto add = [&](const prometheus::Labels& named) {
    return &family.histogram->Add(named, family.row->buckets);
  };
  if (auto* histogram = family.Find<prometheus::Histogram>(labels, add)) return *histogram;
  CountRefused(family);
  return *add(family.Others());
}

void Metrics::RemoveGauge(MetricId id, LabelValues labels) {
  Family& family = families_[static_cast<size_t>(id)];
  BATON_CHECK(family.gauge != nullptr && labels.size() == family.row->labels.size());
  const std::lock_guard lock(family.mutex);
  const auto found = family.series.find(KeyOf(labels));
  if (found == family.series.end()) return;
  family.gauge->Remove(static_cast<prometheus::Gauge*>(found->second));
  family.series.erase(found);
}

void Metrics::CountRefused(const Family& family) {
  Counter(MetricId::kSeriesRefused, {family.row->name}).Increment();
}

}  // namespace baton
