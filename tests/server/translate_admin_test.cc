#include "server/translate_admin.h"

#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("a device says how it does, and why it gets no work") {
  DeviceReport report;
  report.info = {.platform = Platform::kGpu, .device = "gpu0", .present = true};
  report.sample = {.healthy = true, .temperature_c = 91, .utilisation = 0.5, .memory_errors = 2};
  report.state = "open";
  report.refusal = "too many of its batches failed";
  report.capacity = 0.5;
  report.watts = 250;
  report.watts_measured = true;
  report.events = {"hot: it has 91 C", "open: 3 of its last 10 batches failed"};
  v1::Device device;
  ToProto(report, device);
  CHECK_FALSE(device.available());
  CHECK(device.reason() == "too many of its batches failed");
  CHECK(device.state() == "open");
  CHECK(device.capacity() == 0.5);
  CHECK(device.temperature_c() == 91);
  CHECK(device.utilisation() == 0.5);
  CHECK(device.memory_errors() == 2);
  CHECK(device.watts() == 250);
  CHECK(device.watts_measured());
  REQUIRE(device.events_size() == 2);
  CHECK(device.events(1) == "open: 3 of its last 10 batches failed");

  report.info.present = false;
  report.sample = {};
  v1::Device absent;
  ToProto(report, absent);
  CHECK(absent.capacity() == 0);
  CHECK_FALSE(absent.has_temperature_c());
  CHECK_FALSE(absent.has_utilisation());
  CHECK_FALSE(absent.has_memory_errors());
}

TEST_CASE("a transfer path says between what, of which sizes, and how fast") {
  v1::TransferPath taken;
  ToProto(PathReport{.path = "host",
                     .source = {.kind = MemorySpace::Kind::kCuda, .device = 1},
                     .destination = {},
                     .bytes_min = 65536,
                     .bytes_max = 1048576,
                     .copies = 3,
                     .failures = 1,
                     .latency_us = 12,
                     .bytes_per_s = 2e9,
                     .predicted_us = 80},
          taken);
  CHECK(taken.source() == "cuda:1");
  CHECK(taken.destination() == "host");
  CHECK(taken.bytes_min() == 65536);
  CHECK(taken.bytes_max() == 1048576);
  CHECK(taken.copies() == 3);
  CHECK(taken.failures() == 1);
  CHECK(taken.latency_us() == 12);
  CHECK(taken.bytes_per_s() == 2e9);
  CHECK(taken.predicted_us() == 80);
  v1::TransferPath open;
  ToProto(PathReport{.path = "host", .bytes_max = INT64_MAX, .copies = 1}, open);
  CHECK_FALSE(open.has_bytes_max());
  v1::TransferPath unused;
  ToProto(PathReport{.path = "host"}, unused);
  CHECK(unused.path() == "host");
  CHECK(unused.source().empty());
}

TEST_CASE("an explained candidate has its prediction") {
  v1::ExplainStage stage;
  ToProto(ExplainedStage{.name = "search",
                         .candidates = {RouteCandidate{.device = "cpu0",
                                                       .predicted_us = 200,
                                                       .predicted_us_high = 260,
                                                       .samples = 40,
                                                       .sure = true,
                                                       .speedup = 2.5,
                                                       .predicted_joules = 0.03}}},
          stage);
  const v1::Candidate& candidate = stage.candidates(0);
  CHECK(candidate.predicted_us() == 200);
  CHECK(candidate.predicted_us_high() == 260);
  CHECK(candidate.samples() == 40);
  CHECK(candidate.sure());
  CHECK(candidate.speedup() == 2.5);
  CHECK(candidate.predicted_joules() == 0.03);
}

TEST_CASE("a power mode is one of three, or left as it is") {
  v1::PowerRequest request;
  REQUIRE_OK(ToPowerMode(request));
  CHECK_FALSE(ToPowerMode(request)->has_value());
  for (const auto mode : {PowerMode::kStandby, PowerMode::kNormal, PowerMode::kPeak}) {
    request.set_mode(ToProto(mode));
    CHECK(**ToPowerMode(request) == mode);
  }
  request.set_mode(static_cast<v1::PowerMode>(4));
  REQUIRE_STATUS(ToPowerMode(request), absl::StatusCode::kInvalidArgument,
                 "mode must be 1 to 3 (standby, normal, peak), but is 4");
}

TEST_CASE("a learned cost goes out whole") {
  v1::LearnedCost proto;
  ToProto(LearnedCost{.work_class = WorkClass::kEmbed,
                      .platform = Platform::kFpga,
                      .device = "u280",
                      .samples = 7,
                      .median_error = 0.08,
                      .drifts = 2},
          proto);
  CHECK(proto.work_class() == v1::WORK_CLASS_EMBED);
  CHECK(proto.platform() == v1::PLATFORM_FPGA);
  CHECK(proto.device() == "u280");
  CHECK(proto.samples() == 7);
  CHECK(proto.median_error() == 0.08);
  CHECK(proto.drifts() == 2);
}

}  // namespace
}  // namespace baton
