#include "engine/base/metrics.h"

#include <catch2/catch.hpp>
#include <regex>
#include <set>

#include "prometheus/text_serializer.h"

namespace baton {
namespace {

TEST_CASE("every metric is in the table once, with a name that carries its unit") {
  const Metrics metrics;  // CHECKs that the table has one row per MetricId
  std::set<std::string> names;
  for (const auto& family : metrics.registry()->Collect()) names.insert(family.name);
  for (const std::string& name : names) {
    CAPTURE(name);
    CHECK(std::regex_match(name, std::regex("baton_[a-z0-9_]+")));
  }
}

TEST_CASE("a series counts, shows up in the scrape, and can be forgotten") {
  Metrics metrics;
  metrics.Counter(MetricId::kRequests, {"Ask", "OK"}).Increment();
  metrics.Counter(MetricId::kRequests, {"Ask", "OK"}).Increment();
  metrics.Gauge(MetricId::kPoints, {"docs"}).Set(3);
  metrics.Histogram(MetricId::kTimeToFirstTokenSeconds).Observe(0.003);
  const auto scrape = [&] {
    return prometheus::TextSerializer().Serialize(metrics.registry()->Collect());
  };
  CHECK_THAT(scrape(), Catch::Contains("baton_requests_total{code=\"OK\",method=\"Ask\"} 2"));
  CHECK_THAT(scrape(), Catch::Contains("baton_points{collection=\"docs\"} 3"));
  CHECK_THAT(scrape(), Catch::Contains("baton_time_to_first_token_seconds_count 1"));
  metrics.RemoveGauge(MetricId::kPoints, {"docs"});
  CHECK_THAT(scrape(), !Catch::Contains("collection=\"docs\""));
}

}  // namespace
}  // namespace baton
