#include "engine/request/hints.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <limits>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

TEST_CASE("hints out of bounds are refused by name, limit and value") {
  REQUIRE_OK(ValidateHints({}));
  REQUIRE_OK(ValidateHints({.latency_sla_us = 1, .batch_size = 1'000'000, .power_budget_w = 0.1}));
  REQUIRE_STATUS(ValidateHints({.latency_sla_us = 0}), kInvalid,
                 "hints.latency_sla_us must be 1 to 3600000000, but is 0");
  REQUIRE_STATUS(ValidateHints({.batch_size = 1'000'001}), kInvalid, "hints.batch_size");
  REQUIRE_STATUS(ValidateHints({.power_budget_w = 0}), kInvalid, "hints.power_budget_w");
  REQUIRE_STATUS(ValidateHints({.power_budget_w = std::nan("")}), kInvalid, "power_budget_w");
  REQUIRE_STATUS(ValidateHints({.power_budget_w = std::numeric_limits<double>::infinity()}),
                 kInvalid, "power_budget_w");
}

TEST_CASE("hints that contradict each other are refused, with both") {
  const PlatformSet gpu_fpga = {Platform::kGpu, Platform::kFpga};
  REQUIRE_OK(ValidateHints({.platform = Platform::kCpu, .exclude = gpu_fpga}));
  REQUIRE_STATUS(ValidateHints({.platform = Platform::kGpu, .exclude = gpu_fpga}), kInvalid,
                 "hints.platform is gpu, which hints.exclude (gpu,fpga) leaves out");
  REQUIRE_STATUS(
      ValidateHints({.exclude = PlatformSet{Platform::kCpu, Platform::kGpu, Platform::kFpga}}),
      kInvalid, "hints.exclude must leave a platform, but is cpu,gpu,fpga");
  REQUIRE_STATUS(
      ValidateHints({.fallback = Fallback::kCpu, .exclude = PlatformSet{Platform::kCpu}}), kInvalid,
      "hints.fallback is cpu, which hints.exclude (cpu) leaves out");
  REQUIRE_OK(ValidateHints({.fallback = Fallback::kRetry, .retries = 10}));
  REQUIRE_STATUS(ValidateHints({.fallback = Fallback::kRetry, .retries = 11}), kInvalid,
                 "hints.retries must be 1 to 10, but is 11");
  REQUIRE_STATUS(ValidateHints({.fallback = Fallback::kCpu, .retries = 3}), kInvalid,
                 "hints.retries is 3, but hints.fallback is cpu; it belongs to retry");
  REQUIRE_STATUS(ValidateHints({.retries = 3}), kInvalid, "hints.fallback is not given");
  REQUIRE_STATUS(ValidateHints({.sla_required = true}), kInvalid,
                 "hints.latency_sla_us is not given");
  REQUIRE_OK(ValidateHints({.latency_sla_us = 100, .sla_required = true}));
}

TEST_CASE("a list of platforms reads and prints") {
  PlatformSet set;
  REQUIRE(Parse("fpga,cpu", &set));
  CHECK(set == PlatformSet{Platform::kCpu, Platform::kFpga});
  CHECK(Name(set) == "cpu,fpga");
  for (const char* wrong : {"", "cpu,", ",cpu", "cpu gpu", "tpu"}) CHECK_FALSE(Parse(wrong, &set));
}

TEST_CASE("hints of message and metadata add up, agree, or are refused") {
  const auto merged = MergeHints({.latency_sla_us = 5}, {.batch_size = 7});
  REQUIRE_OK(merged);
  CHECK(*merged == Hints{.latency_sla_us = 5, .batch_size = 7});
  CHECK(*MergeHints({.latency_sla_us = 5}, {.latency_sla_us = 5}) == Hints{.latency_sla_us = 5});
  REQUIRE_STATUS(MergeHints({.latency_sla_us = 5}, {.latency_sla_us = 6}), kInvalid,
                 "hints.latency_sla_us: the message says 5 but the metadata says 6");
  REQUIRE_STATUS(MergeHints({.platform = Platform::kGpu}, {.platform = Platform::kFpga}), kInvalid,
                 "the message says gpu but the metadata says fpga");
  REQUIRE_STATUS(MergeHints({.deterministic = true}, {.deterministic = false}), kInvalid,
                 "hints.deterministic");
  REQUIRE_STATUS(MergeHints({.fallback = Fallback::kNone}, {.fallback = Fallback::kAlternate}),
                 kInvalid, "hints.fallback");
  REQUIRE_STATUS(MergeHints({.exclude = PlatformSet{Platform::kGpu}},
                            {.exclude = PlatformSet{Platform::kFpga}}),
                 kInvalid, "hints.exclude: the message says gpu but the metadata says fpga");
  REQUIRE_STATUS(MergeHints({.policy = Policy::kBalanced}, {.policy = Policy::kPowerOptimized}),
                 kInvalid, "hints.policy");
  REQUIRE_STATUS(MergeHints({.power_budget_w = 1}, {.power_budget_w = 2}), kInvalid,
                 "hints.power_budget_w");
}

TEST_CASE("priority and tenant are bounded") {
  REQUIRE_OK(ValidateEnvelope({}));
  Envelope envelope;
  envelope.priority = 101;
  REQUIRE_STATUS(ValidateEnvelope(envelope), kInvalid, "options.priority must be -100 to 100");
  envelope.priority = -100;
  envelope.tenant = std::string(129, 't');
  REQUIRE_STATUS(ValidateEnvelope(envelope), kInvalid, "options.tenant");
}

TEST_CASE("names parse back") {
  for (const auto platform : {Platform::kCpu, Platform::kGpu, Platform::kFpga}) {
    Platform parsed{};
    REQUIRE(Parse(Name(platform), &parsed));
    CHECK(parsed == platform);
  }
  Platform platform{};
  CHECK_FALSE(Parse("tpu", &platform));
  CHECK_FALSE(Parse("", &platform));
  Fallback fallback{};
  REQUIRE(Parse("alternate", &fallback));
  CHECK(fallback == Fallback::kAlternate);
  Policy policy{};
  REQUIRE(Parse("power_optimized", &policy));
  CHECK(policy == Policy::kPowerOptimized);
}

}  // namespace
}  // namespace baton
