#include "engine/schedule/device_health.h"

#include <catch2/catch.hpp>

namespace baton {
namespace {

constexpr TimeUs kMs = 1000;

// The kinds of events since the last look, in a row.
std::string Kinds(DeviceHealth& health) {
  std::string kinds;
  for (const HealthEvent& event : health.TakeEvents()) {
    if (!kinds.empty()) kinds += ' ';
    kinds += event.kind;
  }
  return kinds;
}

void Run(DeviceHealth& health, int batches, bool ok, TimeUs now_us) {
  for (int i = 0; i < batches; ++i) {
    health.Begin(0, now_us);
    health.End(ok, now_us);
  }
}

TEST_CASE("every limit of temperature and memory, from both sides") {
  struct Step {
    double temperature_c;
    double memory_percent;
    double capacity;
    bool refused;
    const char* events;
  };
  const Step steps[] = {
      {85, 95, 1, false, ""},         // the limits themselves are not above
      {85.1, 95, 0.5, false, "hot"},  //
      {80.1, 95, 0.5, false, ""},     // hysteresis
      {80, 95, 1, false, "cool"},     //
      {85, 95.1, 1, true, "memory_full"},
      {20, 90.1, 1, true, ""},
      {20, 90, 1, false, "memory_free"},
      {90, 99, 0.5, true, "hot memory_full"},
      {10, 10, 1, false, "cool memory_free"},
  };
  DeviceHealth health({});
  for (const Step& step : steps) {
    CAPTURE(step.temperature_c, step.memory_percent);
    health.Look({.temperature_c = step.temperature_c, .memory_percent = step.memory_percent}, 0);
    CHECK(health.capacity() == step.capacity);
    CHECK(health.Refusal(0).empty() == !step.refused);
    CHECK(Kinds(health) == step.events);
  }
}

TEST_CASE("a device that does not tell is not judged by what it does not tell") {
  DeviceHealth health({});
  health.Look({}, 0);
  CHECK(health.capacity() == 1);
  CHECK(health.Refusal(0).empty());
  health.Look({.healthy = false}, 0);
  CHECK(health.Refusal(0) == "it is not healthy");
}

TEST_CASE("half capacity spares every second piece of work") {
  DeviceHealth health({});
  health.Look({.temperature_c = 90}, 0);
  std::string spared;
  for (int i = 0; i < 8; ++i) spared += health.Spare() ? 's' : 'w';
  CHECK(spared == "wswswsws");
  DeviceHealth well({});
  for (int i = 0; i < 8; ++i) CHECK_FALSE(well.Spare());
}

TEST_CASE("the breaker: 10 % of the window stay, more open it, and it is probed back") {
  DeviceHealth health({});
  Run(health, 9, true, 0);
  Run(health, 1, false, 0);
  CHECK(health.breaker() == DeviceHealth::Breaker::kClosed);  // 1 of 10: exactly 10 %
  Run(health, 1, false, 0);
  CHECK(health.breaker() == DeviceHealth::Breaker::kOpen);
  CHECK(Kinds(health) == "open");
  CHECK(health.Refusal(999 * kMs) == "too many of its batches failed; it is tried again in 1 ms");
  CHECK_FALSE(health.Tick(999 * kMs));
  CHECK(health.breaker() == DeviceHealth::Breaker::kOpen);
  health.Tick(1000 * kMs);
  CHECK(health.breaker() == DeviceHealth::Breaker::kProbing);
  CHECK(health.Refusal(1000 * kMs).empty());
  health.Begin(0, 1000 * kMs);
  CHECK(health.Refusal(1000 * kMs) == "it is being probed, one batch at a time");

  SECTION("a probe that fails opens it for twice as long, up to the limit") {
    health.End(false, 1001 * kMs);
    CHECK(health.breaker() == DeviceHealth::Breaker::kOpen);
    health.Tick(3000 * kMs);
    CHECK(health.breaker() == DeviceHealth::Breaker::kOpen);
    TimeUs now_us = 3001 * kMs;
    TimeUs pause_us = 2000 * kMs;
    for (int i = 0; i < 8; ++i) {
      health.Tick(now_us);
      REQUIRE(health.breaker() == DeviceHealth::Breaker::kProbing);
      Run(health, 1, false, now_us);
      pause_us = std::min<TimeUs>(2 * pause_us, 60'000 * kMs);
      health.Tick(now_us + pause_us - 1);
      REQUIRE(health.breaker() == DeviceHealth::Breaker::kOpen);
      now_us += pause_us;
    }
  }
  SECTION("probes that go well close it, and the past is forgotten") {
    health.End(true, 1001 * kMs);
    Run(health, 1, true, 1002 * kMs);
    CHECK(health.breaker() == DeviceHealth::Breaker::kProbing);
    Run(health, 1, true, 1003 * kMs);
    CHECK(health.breaker() == DeviceHealth::Breaker::kClosed);
    CHECK(Kinds(health) == "probing closed");
    Run(health, 1, false, 1004 * kMs);
    CHECK(health.breaker() == DeviceHealth::Breaker::kClosed);
  }
}

TEST_CASE("few batches open nothing, and old failures leave the window") {
  DeviceHealth few({});
  Run(few, 9, false, 0);
  CHECK(few.breaker() == DeviceHealth::Breaker::kClosed);
  DeviceHealth old({});
  Run(old, 9, false, 0);
  Run(old, 9, true, 10'001 * kMs);
  Run(old, 1, true, 10'001 * kMs);
  CHECK(old.breaker() == DeviceHealth::Breaker::kClosed);
}

TEST_CASE("below half of its capacity the CPU's share is raised, with hysteresis") {
  // Nine of ten batches well: 90 %; hot: 45 %.
  DeviceHealth health({.error_percent_max = 30});
  Run(health, 9, true, 0);
  Run(health, 1, false, 0);
  CHECK(health.cpu_share() == 0);
  health.Look({.temperature_c = 90}, 0);
  CHECK(health.capacity() == Approx(0.45));
  CHECK(health.cpu_share() == Approx(0.55));
  CHECK(Kinds(health) == "hot cpu_share_raised");
  Run(health, 4, true, 0);  // 13 of 14, halved: 46 %
  CHECK(health.cpu_share() > 0);
  Run(health, 86, true, 0);  // 99 of 100, halved: 49.5 %
  CHECK(health.cpu_share() > 0);
  health.Look({.temperature_c = 70}, 0);
  CHECK(health.cpu_share() == 0);
  CHECK(Kinds(health) == "cool cpu_share_lowered");
  // Exactly half is not below.
  DeviceHealth half({});
  half.Look({.temperature_c = 90}, 0);
  CHECK(half.capacity() == 0.5);
  CHECK(half.cpu_share() == 0);
}

TEST_CASE("a device that completes nothing is fenced, and its late results move it to probing") {
  DeviceHealth health({});
  health.Begin(0, 0);
  CHECK_FALSE(health.Tick(9'999 * kMs));
  CHECK(health.Tick(10'000 * kMs));
  CHECK(health.stalled());
  CHECK(health.generation() == 1);
  CHECK(health.in_flight() == 0);
  CHECK(health.StateName() == "stalled");
  CHECK(health.Refusal(10'000 * kMs) == "it completes nothing and is fenced");
  CHECK_FALSE(health.Tick(60'000 * kMs));  // once
  CHECK(Kinds(health) == "suspected stalled");
  CHECK_FALSE(health.suspected());
  health.EndLate(70'000 * kMs);
  CHECK_FALSE(health.stalled());
  CHECK(health.breaker() == DeviceHealth::Breaker::kProbing);
  CHECK(Kinds(health) == "moving probing");
}

TEST_CASE("time in which nobody watched is no silence of the device") {
  DeviceHealth health({});
  health.Begin(0, 0);
  CHECK_FALSE(health.Tick(900 * kMs));
  health.Pardon(30'000 * kMs, 31'000 * kMs);
  CHECK_FALSE(health.Tick(31'000 * kMs - 1));
  CHECK_FALSE(health.suspected());
  CHECK_FALSE(health.Tick(31'000 * kMs));  // 1 s of silence
  CHECK(health.suspected());
  CHECK_FALSE(health.Tick(40'000 * kMs - 1));
  CHECK(health.Tick(40'000 * kMs));

  DeviceHealth begun({});  // while nobody watched: not ahead of time
  begun.Begin(0, 20'000 * kMs);
  begun.Pardon(30'000 * kMs, 31'000 * kMs);
  CHECK_FALSE(begun.Tick(32'000 * kMs - 1));
  CHECK_FALSE(begun.suspected());
  CHECK_FALSE(begun.Tick(32'000 * kMs));
  CHECK(begun.suspected());
}

TEST_CASE("a device that completes nothing for a while is suspected until it does") {
  DeviceHealth health({});
  CHECK_FALSE(health.Tick(5'000 * kMs));
  CHECK_FALSE(health.suspected());  // it has nothing to do
  health.Begin(0, 5'000 * kMs);
  health.Tick(5'999 * kMs);
  CHECK_FALSE(health.suspected());
  CHECK_FALSE(health.Tick(6'000 * kMs));
  CHECK(health.suspected());
  CHECK(health.TakeSuspected());
  CHECK_FALSE(health.TakeSuspected());  // once
  CHECK(health.StateName() == "suspected");
  CHECK(health.Refusal(6'000 * kMs).empty());  // it may have what nobody else can take
  health.End(true, 7'000 * kMs);
  CHECK_FALSE(health.suspected());
  CHECK(health.StateName() == "closed");
  CHECK(Kinds(health) == "suspected moving");

  DeviceHealth slow({});
  slow.Begin(100 * kMs, 0);  // 20 times that is longer than a second
  slow.Tick(1'999 * kMs);
  CHECK_FALSE(slow.suspected());
  slow.Tick(2'000 * kMs);
  CHECK(slow.suspected());

  DeviceHealth never({.suspect_ms = 0});
  never.Begin(0, 0);
  never.Tick(9'000 * kMs);
  CHECK_FALSE(never.suspected());

  DeviceHealth cpu({.cpu_stall_ms = 0}, /*fences=*/false);
  cpu.Begin(0, 0);
  cpu.Tick(9'000 * kMs);
  CHECK_FALSE(cpu.suspected());  // the last resort

  DeviceHealth unfenced({.stall_ms = 0});
  unfenced.Begin(0, 0);
  CHECK_FALSE(unfenced.Tick(60'000 * kMs));
  CHECK(unfenced.suspected());
}

TEST_CASE("what moves is not fenced, nor what is idle, slow by expectation, or open-ended") {
  DeviceHealth moving({});
  moving.Begin(0, 0);
  moving.Begin(0, 0);
  moving.End(true, 9'000 * kMs);
  CHECK_FALSE(moving.Tick(18'999 * kMs));
  CHECK(moving.Tick(19'000 * kMs));

  DeviceHealth idle({});
  CHECK_FALSE(idle.Tick(1'000'000 * kMs));
  idle.Begin(0, 1'000'000 * kMs);  // its patience begins with its work
  CHECK_FALSE(idle.Tick(1'009'999 * kMs));

  DeviceHealth slow({});
  slow.Begin(2'000 * kMs, 0);  // 20 times that is longer than 10 s
  CHECK_FALSE(slow.Tick(39'999 * kMs));
  CHECK(slow.Tick(40'000 * kMs));

  DeviceHealth open_ended({});
  open_ended.Begin(-1, 0);
  CHECK_FALSE(open_ended.Tick(1'000'000 * kMs));

  DeviceHealth never({.stall_ms = 0});
  never.Begin(0, 0);
  CHECK_FALSE(never.Tick(1'000'000 * kMs));
}

TEST_CASE("what is not to be fenced is only told of") {
  DeviceHealth cpu({.stall_ms = 100}, /*fences=*/false);
  cpu.Begin(0, 0);
  CHECK_FALSE(cpu.Tick(100 * kMs));
  CHECK(cpu.stalled());
  CHECK(cpu.generation() == 0);
  CHECK(cpu.Refusal(100 * kMs).empty());
  cpu.End(true, 200 * kMs);
  CHECK_FALSE(cpu.stalled());
  CHECK(Kinds(cpu) == "stalled moving");
}

}  // namespace
}  // namespace baton
