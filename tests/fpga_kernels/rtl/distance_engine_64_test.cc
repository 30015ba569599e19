#include "Vdistance_engine_64.h"
#include "tests/fpga_kernels/rtl/distance_queries.h"

namespace baton::fpga {
namespace {

TEST_CASE("64 lanes give what a sort of all scores gives") {
  CheckQueries<Vdistance_engine_64>(64, 2);
}

TEST_CASE("a code takes as many cycles as it has beats") {
  std::mt19937_64 random(3);
  const DistanceCase c({.lanes = 64, .count = 1000, .beats = 12, .kept = 10}, random);
  std::vector<Item> beats = c.head;
  beats.insert(beats.end(), c.codes.begin(), c.codes.end());
  Vdistance_engine_64 model;
  ListSource in(beats, 0, 1);
  ListSource labels(c.labels, 0, 1);
  const RtlRun run = RunRtl(model, in, &labels, {.wanted = 10, .cycles_max = 100'000});
  CHECK(run.out == c.want);
  PrintFigure("rtl.cycles_per_vector", static_cast<double>(run.cycles) / 1000);
  CHECK(static_cast<double>(run.cycles) / 1000 == Approx(12).epsilon(0.02));
}

}  // namespace
}  // namespace baton::fpga
