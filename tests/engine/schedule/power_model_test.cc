#include "engine/schedule/power_model.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

PowerModel Node(const PowerOptions& options = {}) {
  return PowerModel(options, {{.platform = Platform::kCpu},
                              {.platform = Platform::kGpu, .figures = {.idle_w = 50, .max_w = 300}},
                              {.platform = Platform::kFpga}});
}

TEST_CASE("a device draws its idle power and its load's share of the rest, or what it measures") {
  PowerModel power = Node();
  CHECK(power.Watts(0) == 40);
  power.Look(1, 0.5, std::nullopt);
  CHECK(power.Watts(1) == 175);
  CHECK_FALSE(power.Measured(1));
  CHECK(power.BusyWatts(1) == 300);
  power.Look(1, 0.5, 320);
  CHECK(power.Watts(1) == 320);
  CHECK(power.Measured(1));
  CHECK(power.BusyWatts(1) == 320);
  CHECK(power.NodeWatts() == 40 + 320 + 20);
}

TEST_CASE("energy says whether it was measured") {
  PowerModel power = Node();
  CHECK(power.Of(1, 2'000'000, 1).joules == 600);
  CHECK_FALSE(power.Of(1, 2'000'000, 1).measured);
  power.Look(1, 1, 200);
  CHECK(power.Of(1, 2'000'000, 2).joules == 200);
  CHECK(power.Of(1, 2'000'000, 2).measured);
}

TEST_CASE("standby leaves the GPU out, the other modes nothing") {
  PowerModel power = Node({.mode = "standby"});
  CHECK(power.mode() == PowerMode::kStandby);
  CHECK(power.Refusal(0).empty());
  CHECK(power.Refusal(1) == "the power mode is standby");
  CHECK(power.Refusal(2).empty());
  for (const PowerMode mode : {PowerMode::kNormal, PowerMode::kPeak}) {
    power.set_mode(mode);
    CHECK(power.Refusal(1).empty());
  }
}

TEST_CASE("budgets of a request and of the node, and the bounds themselves") {
  PowerModel power = Node({.node_budget_w = 360});
  CHECK(power.OverBudget(1, 300.0).empty());
  CHECK(power.OverBudget(1, 299.9) == "it draws 300 W, more than the request's 299.9 W");
  CHECK(power.OverBudget(1, std::nullopt).empty());  // 40 + 300 + 20
  power.Look(0, 0.5, std::nullopt);                  // 95 + 300 + 20
  CHECK(power.OverBudget(1, std::nullopt) ==
        "with work on it all devices would draw 415 W, more than power.node_budget_w, 360");
  CHECK(power.OverBudget(2, std::nullopt).empty());  // 95 + 50 + 60
  power.set_mode(PowerMode::kPeak);
  CHECK(power.OverBudget(1, std::nullopt).empty());
  CHECK_FALSE(power.OverBudget(1, 100.0).empty());  // the request's own stays
}

TEST_CASE("modes have names") {
  for (const auto mode : {PowerMode::kStandby, PowerMode::kNormal, PowerMode::kPeak}) {
    PowerMode parsed{};
    REQUIRE(Parse(Name(mode), &parsed));
    CHECK(parsed == mode);
  }
  PowerMode mode{};
  CHECK_FALSE(Parse("turbo", &mode));
}

}  // namespace
}  // namespace baton
