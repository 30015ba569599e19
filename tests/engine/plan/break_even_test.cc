#include "engine/plan/break_even.h"

#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton::plan {
namespace {

// Searches of 1 ms on either; the FPGA of a tenth of the price.
Fleet TwoKinds(double gpu_ms, double fpga_ms, double gpu_cost, double fpga_cost) {
  Device gpu{.name = "g", .platform = Platform::kGpu, .cost_per_hour = gpu_cost};
  gpu.curves = {{WorkClass::kSearchSingle, {{1, gpu_ms}}}};
  Device fpga{.name = "f", .platform = Platform::kFpga, .cost_per_hour = fpga_cost};
  fpga.curves = {{WorkClass::kSearchSingle, {{1, fpga_ms}}}};
  return {.devices = {gpu, fpga}};
}

Workload Searches(double per_second, double sla_ms = 0) {
  return {.requests = {{.name = "search",
                        .per_second = per_second,
                        .sla_ms = sla_ms,
                        .stages = {{.work_class = WorkClass::kSearchSingle}}}}};
}

TEST_CASE("as many devices as the load needs") {
  const Fleet fleet = TwoKinds(1, 1, 10, 1);
  Placement placement;
  placement.fill(-1);
  placement[static_cast<size_t>(WorkClass::kSearchSingle)] = 0;
  CHECK(SizeFleet(Searches(900), fleet, placement, 1)->devices[0].count == 1);
  CHECK(SizeFleet(Searches(900), fleet, placement, 2)->devices[0].count == 2);
  CHECK(SizeFleet(Searches(900), fleet, placement, 10)->devices[0].count == 10);
  // In time, too: at 900 a second one device makes them wait 4.5 ms in the mean.
  CHECK(SizeFleet(Searches(900, 3), fleet, placement, 1)->devices[0].count == 2);
  CHECK_FALSE(SizeFleet(Searches(900, 0.9), fleet, placement, 1));  // none takes less than 1 ms
}

TEST_CASE("the break-even against GPUs alone") {
  SECTION("a device as quick and cheaper is cheaper at once") {
    const auto even = CompareWithGpuOnly(Searches(100), TwoKinds(1, 1, 10, 1));
    REQUIRE_OK(even.status());
    CHECK(even->mixed_from_load == Approx(BreakEven::kLoadMin));
    CHECK(even->others_cost_per_hour_max == Approx(10));
    CHECK(even->others_cost_per_hour == Approx(1));
  }
  SECTION("one that costs more and does more is cheaper where there is enough to do") {
    // Per hour: GPU 4 for 1,000 a second, FPGA 10 for 10,000. One FPGA is as dear as 2.5 GPUs.
    const auto even = CompareWithGpuOnly(Searches(1000), TwoKinds(1, 0.1, 4, 10));
    REQUIRE_OK(even.status());
    REQUIRE(even->mixed_from_load);
    CHECK(*even->mixed_from_load == Approx(2).epsilon(0.001));  // where a third GPU is needed
  }
  SECTION("one that is dear never is") {
    const auto even = CompareWithGpuOnly(Searches(100), TwoKinds(1, 1, 1, 10));
    REQUIRE_OK(even.status());
    CHECK_FALSE(even->mixed_from_load);
    CHECK(even->others_cost_per_hour_max == Approx(1));
  }
  SECTION("GPUs that are never in time are never cheaper") {
    const auto even = CompareWithGpuOnly(Searches(100, 2), TwoKinds(5, 1, 1, 10));
    REQUIRE_OK(even.status());
    CHECK_FALSE(even->gpu_only_ever_meets);
    CHECK(even->mixed_ever_meets);
    CHECK(even->mixed_from_load == Approx(BreakEven::kLoadMin));
    CHECK_FALSE(even->others_cost_per_hour_max);
  }
  SECTION("nothing to compare says why") {
    Fleet no_gpu = TwoKinds(1, 1, 1, 1);
    no_gpu.devices.erase(no_gpu.devices.begin());
    const auto without = CompareWithGpuOnly(Searches(1), no_gpu);
    REQUIRE_OK(without.status());
    CHECK_THAT(without->not_compared, Catch::Matchers::Contains("GPUs alone"));
    Fleet only_gpu = TwoKinds(1, 1, 1, 1);
    only_gpu.devices.pop_back();
    const auto alone = CompareWithGpuOnly(Searches(1), only_gpu);
    REQUIRE_OK(alone.status());
    CHECK_THAT(alone->not_compared, Catch::Matchers::Contains("all of it runs on GPUs"));
  }
}

}  // namespace
}  // namespace baton::plan
