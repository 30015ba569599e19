// What becomes of texts on a device that hangs and that nobody gives up: they end by their deadline
// or wait, readiness tells of it, and nothing is lost when the device moves again.
#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>
#include <string>

#include "engine/executor_board.h"
#include "tests/engine/engine/hybrid_fixture.h"
#include "tests/support/fake_clock.h"
#include "tests/support/scripted_search.h"

namespace baton {
namespace {

TimeUs InUs(TimeUs us) { return SystemClock().NowUs() + us; }

TEST_CASE("a text begun on a device that hangs ends by its deadline, before any fence") {
  Hybrid f;
  f.options.health.stall_ms = 3'600'000;  // nobody is fenced
  f.Start();
  const auto running = [&] {
    return f.metrics.Gauge(MetricId::kSequencesRunning, {"random"}).Value();
  };
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kSlow, 2000));  // 0.4 s a token
  GenerateRequest request = Hybrid::Request(1);
  request.envelope.deadline_us = InUs(4'000'000);
  const auto hurried = f.Submit(request);
  const auto patient = f.Submit(Hybrid::Request(2));
  REQUIRE(Eventually([&] { return patient->chunks >= 2; }));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kHang));
  CHECK(hurried->Wait().status.code() == absl::StatusCode::kDeadlineExceeded);
  // The device may still write to its blocks: they stay taken until it comes back.
  CHECK(running() == 2);
  REQUIRE_OK(f.engine->Progress());  // nobody has given it up
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kSlow, 1));
  REQUIRE_OK(f.node->Inject("fpga0", SimulatedFault::kRecover));
  REQUIRE_OK(patient->Wait().status);
  CHECK(patient->ids == f.Expected(2));
  CHECK(hurried->misplaced == 0);
  CHECK(f.Clean());
}

TEST_CASE("a CPU that hangs turns readiness off and is never fenced") {
  EngineFixture f;
  f.simulation.devices = {SimulatedLlm("cpu0", Platform::kCpu, {})};
  for (const WorkClass other : {WorkClass::kSearchSingle, WorkClass::kEmbed, WorkClass::kKmeans}) {
    f.simulation.devices[0].latency[static_cast<size_t>(other)] = SimulatedUs(10);
  }
  f.options.health.cpu_stall_ms = 100;
  f.options.health.suspect_ms = 0;
  f.AddRandomModel({.context_tokens = 256});
  f.Start();
  const auto submit = [&](TimeUs deadline_us) {
    GenerateRequest request = Hybrid::Request(1);
    request.envelope.hints.fallback.reset();
    request.envelope.hints.platform = Platform::kCpu;
    request.envelope.deadline_us = deadline_us;
    return f.Submit(request);
  };
  const auto before = submit(kNoDeadline);
  REQUIRE_OK(before->Wait().status);
  REQUIRE_OK(f.engine->Progress());

  REQUIRE_OK(f.node->Inject("cpu0", SimulatedFault::kHang));
  const auto patient = submit(kNoDeadline);
  const auto hurried = submit(InUs(1'000'000));
  REQUIRE(Eventually([&] { return !f.engine->Progress().ok(); }));
  REQUIRE_STATUS(f.engine->Progress(), absl::StatusCode::kUnavailable, "completes nothing");
  CHECK(hurried->Wait().status.code() == absl::StatusCode::kDeadlineExceeded);
  const DeviceReport report = f.engine->Devices().at(0);
  CHECK(report.state == "stalled");
  CHECK(report.refusal.empty());  // the last resort takes work all the same
  CHECK(patient->chunks == 0);

  REQUIRE_OK(f.node->Inject("cpu0", SimulatedFault::kRecover));
  REQUIRE_OK(patient->Wait().status);  // what was under way counts: it was nobody else's
  CHECK(patient->ids == before->ids);
  REQUIRE(Eventually([&] { return f.engine->Progress().ok(); }));
  CHECK(f.metrics.Counter(MetricId::kDeviceEvents, {"cpu", "cpu0", "stalled"}).Value() == 1);
  CHECK(f.metrics.Counter(MetricId::kDeviceEvents, {"cpu", "cpu0", "moving"}).Value() == 1);
}

TEST_CASE("silence counts while it is watched, as the loop watches it") {
  const Platform platform = GENERATE(Platform::kGpu, Platform::kCpu);
  const TimeUs stopped_us = GENERATE(0, 60'000'000);  // in the middle of it the process is stopped
  CAPTURE(static_cast<int>(platform), stopped_us);
  constexpr TimeUs kStallUs = 10'000'000;
  EngineOptions options;
  options.health.stall_ms = options.health.cpu_stall_ms = kStallUs / 1000;
  FakeClock clock;
  Metrics metrics;
  ScriptedSearch device(platform);
  ExecutorBoard board(options, {&device}, clock, metrics);
  board.Begin({.executor = 0, .work_class = WorkClass::kSearchSingle, .shape = {.items = 1}},
              nullptr);
  const TimeUs begun_us = clock.NowUs();
  bool stopped = false;
  while (board.Progress().ok()) {
    REQUIRE(clock.NowUs() - begun_us < 2 * kStallUs + stopped_us);
    const TimeUs turn_us = clock.NowUs() + 500'000;  // the loop's idle turn
    clock.AdvanceUs(std::min(turn_us, board.NextWatchUs()) - clock.NowUs());
    if (!stopped && clock.NowUs() - begun_us > kStallUs / 2) {
      clock.AdvanceUs(stopped_us);
      stopped = true;
    }
    board.Watch();
  }
  const TimeUs silent_us = clock.NowUs() - begun_us - stopped_us;
  CHECK(silent_us >= kStallUs);
  CHECK(silent_us <= kStallUs + 500'000);
}

}  // namespace
}  // namespace baton
