#include "engine/threshold_tuner.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

const std::vector<TunedExecutor> kNode = {
    {0, Platform::kCpu}, {1, Platform::kGpu}, {2, Platform::kFpga}};

// A CPU that takes 100 us a query, a GPU that takes 2 ms for any number, an FPGA of 50 us a query.
CostModel Learned() {
  CostModel costs({}, {"cpu", "gpu", "fpga"});
  for (int i = 0; i < 400; ++i) {
    const int n = 1 + i % 64;
    const WorkClass work_class = n > 10 ? WorkClass::kSearchBulk : WorkClass::kSearchSingle;
    const WorkShape shape{.items = static_cast<double>(n)};
    costs.Observe(0, work_class, shape, 100 * n, i);
    costs.Observe(1, work_class, shape, 2000, i);
    costs.Observe(2, work_class, shape, 50 * n, i);
    costs.Observe(0, WorkClass::kEmbed, shape, 100 * n, i);
    costs.Observe(1, WorkClass::kEmbed, shape, 2000, i);
  }
  return costs;
}

TEST_CASE("thresholds move to where learned times cross") {
  const ClassifierOptions tuned = TuneThresholds({}, Learned(), kNode);
  CHECK(tuned.search_bulk_queries >= 30);  // the FPGA's 50 us and the GPU's 2 ms: 40
  CHECK(tuned.search_bulk_queries <= 50);
  CHECK(tuned.batch_items >= 15);  // the CPU's 100 us: 20
  CHECK(tuned.batch_items <= 25);
  CHECK(tuned.search_sla_us == Approx(100).epsilon(0.2));  // the CPU's single search
  CHECK(tuned.sla_us == 1000);
}

TEST_CASE("without the devices, or without sure times, they stay as configured") {
  const ClassifierOptions configured{
      .search_bulk_queries = 7, .search_sla_us = 300, .batch_items = 9};
  for (const auto& tuned : {TuneThresholds(configured, CostModel({}, {"a", "b", "c"}), kNode),
                            TuneThresholds(configured, Learned(), {{0, Platform::kCpu}})}) {
    CHECK(tuned.search_bulk_queries == 7);
    CHECK(tuned.search_sla_us == 300);
    CHECK(tuned.batch_items == 9);
  }
}

}  // namespace
}  // namespace baton
