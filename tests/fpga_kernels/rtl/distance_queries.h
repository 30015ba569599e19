#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <random>
#include <vector>

#include "tests/fpga_kernels/rtl/distance_case.h"
#include "tests/support/figure.h"

namespace baton::fpga {

// Queries one behind the other in one stream, and all that they give in another.
struct DistanceWorkload {
  std::vector<Item> in;
  std::vector<Item> labels;
  std::vector<uint64_t> want;
};

// Of a verilated engine of so many lanes, or of its netlist: at least 200 queries, with ties,
// extremes and waits, beside a sort of all scores.
template <class Model>
void CheckQueries(int lanes, uint64_t seed) {
  std::mt19937_64 random(seed);
  int queries = 0;
  int exact = 0;
  for (const double waits : {0.0, 0.3, 0.7}) {
    std::vector<DistanceCase> cases;
    cases.reserve(100);
    for (int i = 0; i < 70; ++i) {
      const int64_t dimension = std::vector<int64_t>{1, 128, 768, 2048}[random() % 4];
      DistanceCase::Shape shape = {
          .lanes = lanes,
          .count = static_cast<int64_t>(random() % (dimension > 1000 ? 40 : 150)),
          .beats = (dimension + lanes - 1) / lanes,
          .kept = std::vector<uint32_t>{0, 1, 10, 16, 63, 64}[random() % 6],
          .twice = random() % 2 == 0,
          .extreme = random() % 5 == 0,
          .ties = random() % 3 == 0};
      // A walk's hops keep the query.
      if (i > 0 && random() % 4 == 0) {
        shape.query_of = &cases.back();
        shape.beats = cases.back().shape.beats;
      }
      cases.emplace_back(shape, random);
    }
    DistanceWorkload work;
    for (const DistanceCase& c : cases) {
      work.in.insert(work.in.end(), c.head.begin(), c.head.end());
      work.in.insert(work.in.end(), c.codes.begin(), c.codes.end());
      work.labels.insert(work.labels.end(), c.labels.begin(), c.labels.end());
      work.want.insert(work.want.end(), c.want.begin(), c.want.end());
      if (random() % 8 == 0) work.in.emplace_back(lanes);  // a header that is passed over
    }
    Model model;
    ListSource in(work.in, waits, random());
    ListSource labels(work.labels, waits, random());
    const RtlRun run = RunRtl(model, in, &labels,
                              {.wanted = work.want.size(),
                               .out_wait_share = waits,
                               .cycles_max = 5'000'000,
                               .seed = random()});
    CHECK(run.failure == "");
    REQUIRE(run.out.size() == work.want.size());
    size_t at = 0;
    for (const DistanceCase& c : cases) {
      ++queries;
      if (std::equal(c.want.begin(), c.want.end(), run.out.begin() + static_cast<int64_t>(at))) {
        ++exact;
      }
      at += c.want.size();
    }
  }
  WARN(lanes << " lanes: " << exact << " of " << queries << " queries exact");
  PrintFigure("rtl.exact_share", static_cast<double>(exact) / queries);
  CHECK(queries >= 200);
  CHECK(exact == queries);
}

}  // namespace baton::fpga
