#pragma once

// How many cycles the hot kernels take behind a memory bank, in closed form: for planning, and held
// against the RTL behind a simulated bank (tests/fpga_kernels/rtl/cycle_model_test.cc). Cycles, no
// times: what clock a card reaches is not known here.

#include <algorithm>
#include <cstdint>

#include "fpga_kernels/gemv_args.h"

namespace baton::fpga {

// A bank as its port sees it: a beat a cycle within a burst, but for what comes in between.
struct BankTiming {
  double latency_cycles = 96;          // from a burst's request to its first beat
  double burst_beats = 64;             // 4 KB, what AXI allows
  double burst_gap_cycles = 2;         // mean wait in front of a burst: rows opened, other ports
  double refresh_period_cycles = 877;  // 3.9 us (JESD235) at 225 MHz
  double refresh_cycles = 59;          // 260 ns
  double ahead_beats = 512;            // what a mover fetches ahead of its lane

  double beats_per_cycle() const {
    return burst_beats / (burst_beats + burst_gap_cycles) *
           (1 - refresh_cycles / refresh_period_cycles);
  }
};

// `head` beats that are there at once, then `beats` from the bank, which is asked from the start
// on.
inline double CyclesBehindBank(double head, double beats, const BankTiming& bank) {
  const double rate = bank.beats_per_cycle();
  // While the head is taken the mover fetches ahead, as far as it can.
  const double ahead =
      std::clamp((head - bank.latency_cycles) * rate, 0.0, std::min(beats, bank.ahead_beats));
  const double by_bank = std::max(head, bank.latency_cycles) + (beats - ahead) / rate;
  return std::max(head + beats, by_bank);
}

// rtl/gemv_lane.sv: header and x, tiles, and a pipeline behind the last block. The mover knew of
// the matrix `idle` cycles before the header came.
inline double GemvLaneCycles(uint64_t rows, uint64_t blocks, const BankTiming& bank,
                             double idle = 0) {
  constexpr double kPipelineCycles = 11;
  const auto head = static_cast<double>(1 + 2 * blocks);
  const auto beats = static_cast<double>(GemvBankBeats(rows, blocks));
  return CyclesBehindBank(idle + head, beats, bank) + kPipelineCycles - idle;
}

// rtl/distance_engine.sv. `cells`: of which `kept` are given out in the end; 0 kept: scores as they
// come.
struct DistanceRun {
  uint64_t count = 0;
  uint64_t beats = 0;  // of a code
  uint64_t kept = 0;
  uint64_t cells = 64;
};
inline double DistanceEngineCycles(const DistanceRun& run, const BankTiming& bank) {
  constexpr double kPipelineCycles = 10;
  const auto head = static_cast<double>(1 + run.beats);
  const double codes =
      CyclesBehindBank(head, static_cast<double>(run.count * run.beats), bank) + kPipelineCycles;
  return run.kept == 0 ? codes : codes + static_cast<double>(2 + run.cells + run.kept);
}

}  // namespace baton::fpga
