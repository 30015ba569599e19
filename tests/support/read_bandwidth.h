#pragma once

#include <cstdint>
#include <vector>

#include "tests/support/bench_report.h"

namespace baton {

// GB/s of one thread that only reads memory: eight bytes a load keep several times ahead of it.
inline double ReadBandwidth(bool tiny) {
  const std::vector<uint64_t> data((tiny ? size_t{1} << 16 : size_t{256} << 20) / 8, 1);
  volatile uint64_t kept = 0;  // so that the sum is needed
  const double seconds = BestSecondsPerCall(tiny, [&] {
    uint64_t sums[4] = {};
    for (size_t i = 0; i < data.size(); i += 4) {
      for (size_t lane = 0; lane < 4; ++lane) sums[lane] += data[i + lane];
    }
    kept = sums[0] + sums[1] + sums[2] + sums[3];
  });
  return static_cast<double>(data.size() * 8) / seconds * 1e-9;
}

}  // namespace baton
