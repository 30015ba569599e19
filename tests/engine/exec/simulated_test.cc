// The parts of a simulated device: curves, scripts, time, memory, paths.
#include <atomic>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <catch2/catch.hpp>

#include "engine/exec/simulated/fault_script.h"
#include "engine/exec/simulated/latency_curve.h"
#include "engine/exec/simulated/simulated_device.h"
#include "engine/exec/simulated/simulated_path.h"
#include "engine/exec/simulated/timeline.h"
#include "tests/support/eventually.h"
#include "tests/support/fake_clock.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

using Mode = FaultScript::Mode;
using Skill = SimulatedDevice::Skill;

TEST_CASE("a curve is the sum of its parts") {
  const CurveOptions curve{.fixed_us = 100,
                           .per_item_us = 2,
                           .per_context_us = 0.5,
                           .points = {{10, 0}, {20, 50}, {30, 250}},
                           .context_points = {{0, 7}}};
  CHECK(CurveUs(curve, {.items = 1, .context = 0}) == Approx(109));
  CHECK(CurveUs(curve, {.items = 15, .context = 4}) == Approx(100 + 30 + 30 + 25 + 7));
  CHECK(CurveUs(curve, {.items = 30, .context = 0}) == Approx(100 + 60 + 250 + 7));
  CHECK(CurveUs(curve, {.items = 40, .context = 0}) == Approx(100 + 80 + 450 + 7));
}

TEST_CASE("noise is lognormal with median 1, and the seed's") {
  LatencyNoise none(0, 1);
  CHECK(none.NextFactor() == 1);
  LatencyNoise a(0.3, 7);
  LatencyNoise b(0.3, 7);
  double sum = 0;
  double squares = 0;
  constexpr int kDraws = 20'000;
  for (int i = 0; i < kDraws; ++i) {
    const double factor = a.NextFactor();
    REQUIRE(factor == b.NextFactor());
    sum += std::log(factor);
    squares += std::log(factor) * std::log(factor);
  }
  CHECK(std::abs(sum / kDraws) < 0.01);
  CHECK(std::sqrt(squares / kDraws) == Approx(0.3).epsilon(0.05));
}

TEST_CASE("a batch's prompts and decodes are counted apart") {
  LlmBatch batch;
  batch.items.push_back(
      {.work_class = WorkClass::kPrefill, .position = 10, .tokens = {1, 2, 3}, .blocks = {}});
  batch.items.push_back({.work_class = WorkClass::kDecode, .position = 20, .tokens = {}});
  batch.items.push_back({.work_class = WorkClass::kDecode, .position = 40, .tokens = {5}});
  CHECK(PrefillInput(batch).items == 3);
  CHECK(PrefillInput(batch).context == Approx(11));
  CHECK(DecodeInput(batch).items == 3);
  CHECK(DecodeInput(batch).context == Approx((20 + 2 * 40.5) / 3));
}

TEST_CASE("a script goes by time and by batches") {
  FaultScript script({{.at_s = 2.0, .fault = SimulatedFault::kRecover},
                      {.at_s = 1.0, .fault = SimulatedFault::kSlow, .factor = 3},
                      {.at_batch = 2, .fault = SimulatedFault::kHang},
                      {.at_batch = 4, .fault = SimulatedFault::kLose}},
                     /*start_us=*/500);
  CHECK(script.NextUs() == 1'000'500);
  CHECK_FALSE(script.Advance(1'000'499));
  CHECK(script.Advance(1'000'500));
  CHECK(script.slow_factor() == 3);
  CHECK_FALSE(script.CountBatch());
  CHECK(script.CountBatch());
  CHECK(script.mode() == Mode::kHung);
  CHECK(script.Advance(9'000'000));
  CHECK(script.mode() == Mode::kWell);
  CHECK(script.slow_factor() == 1);
  CHECK(script.NextUs() == kNoDeadline);
  CHECK_FALSE(script.CountBatch());
  CHECK(script.CountBatch());
  CHECK(script.mode() == Mode::kLost);
  CHECK(script.losses() == 1);
}

TEST_CASE("a timeline runs in order of time, then of addition") {
  FakeClock clock;
  std::vector<int> order;
  std::atomic<int> ran = 0;
  Timeline timeline(clock);
  const TimeUs start_us = clock.NowUs();
  for (const auto& [at_us, what] : std::vector<std::pair<TimeUs, int>>{{20, 3}, {10, 1}, {10, 2}}) {
    timeline.At(start_us + at_us, [&order, &ran, number = what] {
      order.push_back(number);
      ++ran;
    });
  }
  clock.AdvanceUs(10);
  REQUIRE(Eventually([&] { return ran == 2; }));
  clock.AdvanceUs(10);
  REQUIRE(Eventually([&] { return ran == 3; }));
  CHECK(order == std::vector<int>{1, 2, 3});
}

// A device on a clock that the test moves.
struct Device {
  explicit Device(SimulatedDeviceOptions options = {}) : timeline(clock) {
    options.name = "d";
    options.space = {.kind = MemorySpace::Kind::kCuda};
    device = std::make_shared<SimulatedDevice>(options, timeline);
    device->Start();
  }
  ~Device() { device->Shutdown(); }

  struct Outcome {
    std::atomic<bool> done = false;
    absl::Status status;
    BatchTimes times;
  };
  std::shared_ptr<Outcome> Begin(double run_us, bool computed = true, Skill skill = Skill::kLlm) {
    auto outcome = std::make_shared<Outcome>();
    const auto job = device->Begin(skill, run_us, [outcome](absl::Status status, BatchTimes times) {
      outcome->status = std::move(status);
      outcome->times = times;
      outcome->done = true;
    });
    if (!job.ok()) {
      outcome->status = job.status();
      outcome->done = true;
    } else if (computed) {
      device->Computed(*job);
    } else {
      last = *job;
    }
    return outcome;
  }
  // Whether it is done, given that it would be within the timeline's next turns.
  bool Done(const std::shared_ptr<Outcome>& outcome) {
    return Eventually([&] { return outcome->done.load(); });
  }

  FakeClock clock;
  Timeline timeline;
  std::shared_ptr<SimulatedDevice> device;
  SimulatedDevice::JobPtr last;
};

TEST_CASE("a device does one batch after another, in the curve's time") {
  Device d;
  const auto first = d.Begin(100);
  const auto second = d.Begin(50);
  CHECK(d.device->Sample().queue_depth == 2);
  CHECK(d.device->Sample().load > 0);
  d.clock.AdvanceUs(100);
  REQUIRE(d.Done(first));
  CHECK_FALSE(second->done);
  CHECK(first->times.run_us == 100);
  d.clock.AdvanceUs(50);
  REQUIRE(d.Done(second));
  CHECK(second->times.queue_us == 100);
  CHECK(second->times.run_us == 50);
  CHECK(d.device->Sample().load == 0);
}

TEST_CASE("a batch is not answered before it is computed, and its skills run beside each other") {
  Device d({.search_lanes = 2});
  const auto slow = d.Begin(100, /*computed=*/false);
  const auto a = d.Begin(70, true, Skill::kSearch);
  const auto b = d.Begin(70, true, Skill::kSearch);
  const auto c = d.Begin(70, true, Skill::kSearch);
  d.clock.AdvanceUs(70);
  REQUIRE(d.Done(a));
  REQUIRE(d.Done(b));
  d.clock.AdvanceUs(70);
  REQUIRE(d.Done(c));
  CHECK_FALSE(slow->done);
  d.device->Computed(d.last);
  REQUIRE(d.Done(slow));
  CHECK(slow->times.run_us == 140);
}

TEST_CASE("an exclusive device runs all skills in one lane") {
  Device d({.exclusive = true});
  d.Begin(100);
  const auto search = d.Begin(10, true, Skill::kSearch);
  d.clock.AdvanceUs(110);
  REQUIRE(d.Done(search));
  CHECK(search->times.queue_us == 100);
}

TEST_CASE("a full queue refuses") {
  Device d({.queue_batches = 1});
  const auto first = d.Begin(100);
  const auto refused = d.Begin(100);
  REQUIRE_STATUS(refused->status, absl::StatusCode::kResourceExhausted, "is full: 1");
  d.clock.AdvanceUs(100);
  REQUIRE(d.Done(first));
  const auto accepted = d.Begin(1);
  REQUIRE_OK(accepted->status);
}

TEST_CASE("what hangs comes back when it recovers") {
  Device d;
  const auto batch = d.Begin(100);
  d.device->Inject(SimulatedFault::kHang, 1);
  d.clock.AdvanceUs(1000);
  const auto next = d.Begin(5);
  d.clock.AdvanceUs(1000);
  CHECK_FALSE(batch->done);
  CHECK(d.device->Sample().healthy);
  d.device->Inject(SimulatedFault::kRecover, 1);
  REQUIRE(d.Done(batch));
  REQUIRE(d.Done(next));
  REQUIRE_OK(batch->status);
  CHECK(batch->times.run_us == 2000);
}

TEST_CASE("a failing device fails, a slow one is slow") {
  Device d;
  d.device->Inject(SimulatedFault::kFail, 1);
  const auto failed = d.Begin(10);
  d.clock.AdvanceUs(10);
  REQUIRE(d.Done(failed));
  REQUIRE_STATUS(failed->status, absl::StatusCode::kInternal, "simulated failure");
  d.device->Inject(SimulatedFault::kRecover, 1);
  d.device->Inject(SimulatedFault::kSlow, 3);
  const auto slow = d.Begin(10);
  d.clock.AdvanceUs(30);
  REQUIRE(d.Done(slow));
  CHECK(slow->times.run_us == 30);
}

TEST_CASE("a lost device forgets its memory") {
  Device d({.memory_bytes = 100});
  const std::byte block{};
  const std::byte* const blocks[] = {&block};
  d.device->Write(blocks);
  REQUIRE_OK(d.device->CheckWritten(blocks));
  REQUIRE_STATUS(d.device->Reserve(101), absl::StatusCode::kResourceExhausted, "do not fit");
  REQUIRE_OK(d.device->Reserve(100));
  CHECK(d.device->Sample().memory_bytes_used == 100);

  const auto computing = d.Begin(10, /*computed=*/false);
  d.device->Inject(SimulatedFault::kLose, 1);
  CHECK_FALSE(d.device->Sample().healthy);
  CHECK_FALSE(computing->done);  // it may still be written
  d.device->Computed(d.last);
  REQUIRE(d.Done(computing));
  REQUIRE_STATUS(computing->status, absl::StatusCode::kUnavailable, "was lost");
  const auto refused = d.Begin(10);
  REQUIRE_STATUS(refused->status, absl::StatusCode::kUnavailable, "is lost");
  d.device->Inject(SimulatedFault::kRecover, 1);
  REQUIRE_STATUS(d.device->CheckWritten(blocks), absl::StatusCode::kDataLoss, "has lost a block");
  const auto well = d.Begin(10);
  d.clock.AdvanceUs(1000);
  REQUIRE(d.Done(well));
  REQUIRE_OK(well->status);
}

TEST_CASE("a path copies in its time, and not once it was cancelled") {
  Device d;
  SimulatedPath path({.name = "p",
                      .from = {.kind = MemorySpace::Kind::kCuda},
                      .to = {},
                      .gb_per_s = 0.001,  // a byte a microsecond
                      .latency_us = 10},
                     d.device, nullptr, d.timeline);
  CHECK(path.Connects({.kind = MemorySpace::Kind::kCuda}, {}));
  CHECK_FALSE(path.Connects({}, {.kind = MemorySpace::Kind::kCuda}));
  std::vector<std::byte> from(64, std::byte{7});
  std::vector<std::byte> to(64);
  const CopyPath::Job job{.sources = {from.data()}, .destinations = {to.data()}, .block_bytes = 64};

  const auto unwritten = path.Post(job);
  REQUIRE_OK(unwritten);
  d.clock.AdvanceUs(74);
  absl::StatusOr<bool> polled = false;
  REQUIRE(Eventually([&] { return !(polled = path.Poll(*unwritten)).ok(); }));
  CHECK(polled.status().code() == absl::StatusCode::kDataLoss);

  const std::byte* const blocks[] = {from.data()};
  d.device->Write(blocks);
  const auto ticket = path.Post(job);
  REQUIRE_OK(ticket);
  CHECK(*path.Poll(*ticket) == false);
  d.clock.AdvanceUs(74);
  REQUIRE(Eventually([&] { return *path.Poll(*ticket); }));
  CHECK(std::memcmp(from.data(), to.data(), 64) == 0);

  std::fill(to.begin(), to.end(), std::byte{0});
  const auto cancelled = path.Post(job);
  REQUIRE_OK(cancelled);
  path.Cancel(*cancelled);
  path.Cancel(*cancelled);  // nothing is left of it
  CHECK(path.open_count() == 0);
  d.clock.AdvanceUs(1000);
  REQUIRE_STATUS(path.Poll(*cancelled).status(), absl::StatusCode::kNotFound, "no copy");
  CHECK(to[0] == std::byte{0});

  d.device->Inject(SimulatedFault::kHang, 1);
  const auto hung = path.Post(job);
  REQUIRE_OK(hung);
  d.clock.AdvanceUs(1000);
  CHECK(*path.Poll(*hung) == false);
  d.device->Inject(SimulatedFault::kLose, 1);
  REQUIRE_STATUS(path.Poll(*hung).status(), absl::StatusCode::kUnavailable, "is lost");
  REQUIRE_STATUS(path.Post(job).status(), absl::StatusCode::kUnavailable, "is lost");
}

}  // namespace
}  // namespace baton
