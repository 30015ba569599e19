#pragma once

// Cycles of a token and of a graph's walk on a card, for planning. Weights go by cycle_model.h,
// which is held against RTL. All else has no RTL: its cycles are the trip counts of hls/, at the
// intervals that their pragmas ask for, with each read that is not part of a burst waited for.
// Nothing has shown that a compiler reaches them.

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "fpga_kernels/cycle_model.h"
#include "fpga_kernels/decode_args.h"
#include "fpga_kernels/kv_args.h"
#include "fpga_kernels/search_args.h"

namespace baton::fpga {

struct DecoderSize {
  int64_t layers = 0;
  int64_t dim = 0;
  int64_t ffn_dim = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocabulary = 0;

  int64_t qkv_rows() const { return (heads + 2 * kv_heads) * head_dim; }
};

// The matrices of a token: work(rows, cols, how often).
template <class Work>
void ForEachMatrix(const DecoderSize& d, Work work) {
  work(d.qkv_rows(), d.dim, d.layers);
  work(d.dim, d.heads * d.head_dim, d.layers);
  work(2 * d.ffn_dim, d.dim, d.layers);
  work(d.dim, d.ffn_dim, d.layers);
  work(d.vocabulary, d.dim, int64_t{1});
}

inline uint64_t BlocksOf(int64_t cols) {
  return static_cast<uint64_t>((cols + kGemvLanes - 1) / kGemvLanes);
}

// What a token reads of bank 0, which has the most rows; as much of it holds a model.
inline uint64_t WeightBytesOfBank(const DecoderSize& d, uint32_t banks) {
  uint64_t beats = 0;
  ForEachMatrix(d, [&](int64_t rows, int64_t cols, int64_t count) {
    beats += static_cast<uint64_t>(count) *
             GemvBankBeats(GemvBankRows(static_cast<uint32_t>(rows), 0, banks), BlocksOf(cols));
  });
  return 64 * beats;
}

struct DecoderUnits {
  uint32_t gemv_banks = 24;
  uint32_t kv_units = kKvUnits;
  BankTiming bank;
};

struct TokenCycles {
  double weights = 0;
  double vectors = 0;
  double attention = 0;
  double total() const { return weights + vectors + attention; }
};

// A token behind `positions` others. Commands run one after another; a bank's mover fetches the
// next matrix while the vector unit works.
inline TokenCycles CyclesOfToken(const DecoderSize& d, const DecoderUnits& units,
                                 int64_t positions) {
  constexpr double kLoopCycles = 20;    // assumed: a pipelined loop fills and drains
  constexpr double kDivideCycles = 64;  // a 64-bit division or square root, a bit a cycle
  constexpr int64_t kBlockTokens = 32;
  const double latency = units.bank.latency_cycles;
  const auto pass = [&](int64_t count) {
    return std::ceil(static_cast<double>(count) / kVectorLanes) + kLoopCycles;
  };
  const auto layers = static_cast<double>(d.layers);

  TokenCycles cycles;
  // RmsNorm: three passes, two of which read weights from memory.
  const double norm = 3 * pass(d.dim) + 2 * latency + 3 * kDivideCycles;
  const double gate = 3 * pass(d.ffn_dim);
  const double pack_attended = 2 * pass(d.heads * d.head_dim);
  const double embed = pass(d.dim) + latency;
  const double sample = 3 * 64 + kLoopCycles;  // behind the last logit
  cycles.vectors = embed + layers * (2 * norm + gate + pack_attended) + norm + sample;

  // What is sent down the chain takes a cycle in each unit, and so do sums on their way up.
  const double chain = 2 * static_cast<double>(units.gemv_banks);
  ForEachMatrix(d, [&](int64_t rows, int64_t cols, int64_t count) {
    const double lane =
        GemvLaneCycles(GemvBankRows(static_cast<uint32_t>(rows), 0, units.gemv_banks),
                       BlocksOf(cols), units.bank, units.bank.ahead_beats);
    cycles.weights +=
        static_cast<double>(count) * (std::max(lane, static_cast<double>(rows)) + chain);
  });

  // SendHeads: RoPE and packing, head by head; then each unit its positions.
  const auto head_dim = static_cast<double>(d.head_dim);
  const double group = static_cast<double>(d.heads) / static_cast<double>(d.kv_heads);
  const double rope = head_dim / 2 + kLoopCycles + latency;
  const double send_kv_head = rope + 4 * (head_dim + kLoopCycles) +
                              group * (rope + 2 * pass(d.head_dim) + head_dim / 32 + 1);
  const double chunks = std::ceil(head_dim / kGemvLanes);
  const double blocks = std::ceil(static_cast<double>(positions + 1) / kBlockTokens);
  const double unit_blocks = std::ceil(blocks / units.kv_units);
  const double unit_positions =
      std::min(static_cast<double>(positions + 1), unit_blocks * kBlockTokens);
  const double area_beats =
      static_cast<double>(KvAreaBytes(kBlockTokens, static_cast<uint64_t>(d.head_dim))) / 64 + 1;
  const double load_block = 2 * (latency + area_beats / units.bank.beats_per_cycle()) + latency;
  // A row is taken out of its area, then scored and added for each query of the group.
  const double row = chunks * (1 + 2 * group);
  // Partials come up the chain, merged in each unit, head by head.
  const double merge = group * (2 * head_dim / 8 + head_dim + 2 * kLoopCycles);
  const double kv_head = unit_blocks * load_block + unit_positions * row + merge;
  // The next kv head is sent while this one is attended to; the last partial crosses the chain.
  const auto kv_heads = static_cast<double>(d.kv_heads);
  cycles.attention =
      layers * (send_kv_head + (kv_heads - 1) * std::max(send_kv_head, kv_head) + kv_head +
                static_cast<double>(units.kv_units) * (head_dim + 2 * head_dim / 8 + kLoopCycles));
  return cycles;
}

// ---- Search

struct GraphSize {
  int64_t vectors = 0;
  int64_t dimension = 0;
  int64_t degree = 32;  // links of a node on level 0; half as many above
  int64_t ef = 64;
  int64_t codes_per_query = 0;  // that a walk scores on level 0

  int64_t code_beats() const { return (dimension + 63) / 64; }
  int64_t fine_beats() const { return (dimension + 31) / 32; }
  // Codes, biases, links, live bits, and the int16 vectors that hits are scored with.
  int64_t bytes() const {
    return vectors * (64 * (code_beats() + fine_beats()) + 4 + 4 * degree) + vectors / 8;
  }
};

// A query: down the levels, best-first over level 0, finer scores for what is found. Nodes of a
// step are read together, steps wait for each other.
inline double CyclesOfWalk(const GraphSize& g, const BankTiming& bank) {
  constexpr double kEngineCycles = 12;    // header and pipeline of rtl/distance_engine.sv
  constexpr double kStepsPerLevel = 2;    // assumed: one that moves, one that does not
  constexpr double kScatteredCycles = 8;  // assumed: a read elsewhere keeps its port so long
  const double latency = bank.latency_cycles;
  const auto degree = static_cast<double>(g.degree);
  const auto ef = static_cast<double>(g.ef);
  const double code = kScatteredCycles + static_cast<double>(g.code_beats());
  // Links, then codes.
  const double step = 2 * latency + kEngineCycles;
  const double upper = std::max(2.0, degree / 2);
  const double levels =
      g.vectors > 1
          ? std::min<double>(kGraphLevelsMax,
                             std::floor(std::log(static_cast<double>(g.vectors)) / std::log(upper)))
          : 0;
  const double entry = static_cast<double>(g.code_beats()) + step + code;
  const double down = levels * kStepsPerLevel * (step + upper + upper * code);
  const double clear = static_cast<double>(g.vectors) / 32 / 16;
  // In the end each node of the pool has been followed.
  const double walk = ef * (step + degree) + static_cast<double>(g.codes_per_query) * code;
  const double fine = ef * 2 * (latency + static_cast<double>(g.fine_beats()));
  return entry + down + clear + walk + fine + ef;
}

}  // namespace baton::fpga
