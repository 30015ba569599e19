#include "fpga_kernels/cycle_model.h"

#include <catch2/catch.hpp>
#include <cmath>

#include "Vdistance_engine_64.h"
#include "Vgemv_lane.h"
#include "tests/fpga_kernels/naive_gemv.h"
#include "tests/fpga_kernels/rtl/distance_case.h"
#include "tests/support/figure.h"

namespace baton::fpga {
namespace {

// No constant of the model comes from these shapes: they are of the bank's timing and of the RTL's
// stages. Some thousand beats and more, since whether a shorter run meets a refresh is chance.
struct Errors {
  int shapes = 0;
  double largest = 0;
  double sum = 0;

  void Add(double model, int64_t rtl) {
    ++shapes;
    const double error = std::abs(model / static_cast<double>(rtl) - 1);
    largest = std::max(largest, error);
    sum += error;
  }
  void Check() const {
    WARN(shapes << " shapes, mean error " << sum / shapes << ", largest " << largest);
    PrintFigure("model.cycle_error", largest);
    CHECK(shapes >= 50);
    CHECK(largest <= 0.05);
  }
};

std::vector<BankTiming> Timings() {
  return {{},
          {.latency_cycles = 200, .burst_beats = 16, .burst_gap_cycles = 1.5},
          {.latency_cycles = 48, .burst_gap_cycles = 6, .refresh_cycles = 79}};
}

// From the header on, which comes `idle` cycles after the mover began.
int64_t LaneCycles(uint64_t rows, uint64_t blocks, const BankTiming& timing, int64_t idle,
                   uint64_t seed) {
  std::vector<Item> head(1 + 2 * blocks, Item(64));
  for (int byte = 0; byte < 4; ++byte) {
    head[0][byte] = static_cast<uint8_t>(rows >> (8 * byte));
    head[0][4 + byte] = static_cast<uint8_t>(blocks >> (8 * byte));
  }
  BankSource in(head, std::vector<Item>(GemvBankBeats(rows, blocks), Item(64)), timing, seed, idle);
  Vgemv_lane model;
  const RtlRun run = RunRtl(model, in, nullptr, {.wanted = rows, .cycles_max = 1'000'000});
  REQUIRE(run.failure == "");
  REQUIRE(run.out.size() == rows);
  return run.cycles - idle;
}

TEST_CASE("the model of a GEMV lane is right within 5 percent of its RTL behind a bank") {
  std::mt19937_64 random(1);
  Errors errors;
  for (const BankTiming& timing : Timings()) {
    for (int i = 0; i < 25; ++i) {
      const auto blocks = static_cast<uint64_t>(1 + random() % 300);
      const uint64_t rows = (3000 + random() % 20000) / blocks + 1;
      errors.Add(GemvLaneCycles(rows, blocks, timing),
                 LaneCycles(rows, blocks, timing, 0, random()));
    }
  }
  errors.Check();
}

// Twice as long runs: at some 4,000 beats behind 512 that are there, lane and bank take as long as
// each other, and each wait for a refresh adds to either.
TEST_CASE("a lane whose mover fetched ahead is within 5 percent of the model, too") {
  std::mt19937_64 random(3);
  Errors errors;
  for (const BankTiming& timing : Timings()) {
    for (int i = 0; i < 20; ++i) {
      const auto blocks = static_cast<uint64_t>(1 + random() % 100);
      const uint64_t rows = (6000 + random() % 20000) / blocks + 1;
      const auto idle = static_cast<int64_t>(random() % 1500);
      errors.Add(GemvLaneCycles(rows, blocks, timing, static_cast<double>(idle)),
                 LaneCycles(rows, blocks, timing, idle, random()));
    }
  }
  errors.Check();
}

TEST_CASE("the model of a distance engine is right within 5 percent of its RTL behind a bank") {
  std::mt19937_64 random(2);
  Errors errors;
  for (const BankTiming& timing : Timings()) {
    for (int i = 0; i < 25; ++i) {
      const auto beats = static_cast<int64_t>(1 + random() % 32);
      const auto count = static_cast<int64_t>(3000 + random() % 20000) / beats + 1;
      const DistanceRun run_shape = {.count = static_cast<uint64_t>(count),
                                     .beats = static_cast<uint64_t>(beats),
                                     .kept = i % 3 == 0 ? 0 : 1 + random() % 64};
      const DistanceCase c({.lanes = 64,
                            .count = count,
                            .beats = beats,
                            .kept = static_cast<uint32_t>(run_shape.kept)},
                           random);
      BankSource in(c.head, c.codes, timing, random());
      ListSource labels(c.labels, 0, 1);
      Vdistance_engine_64 model;
      const RtlRun run =
          RunRtl(model, in, &labels, {.wanted = c.want.size(), .cycles_max = 1'000'000});
      REQUIRE(run.failure == "");
      REQUIRE(run.out == c.want);
      errors.Add(DistanceEngineCycles(run_shape, timing), run.cycles);
    }
  }
  errors.Check();
}

}  // namespace
}  // namespace baton::fpga
