#pragma once

// What search kernels are told and answer: the contract of host, of the distance engine's two forms
// (fpga_kernels/hls/distance_engine.cc, fpga_kernels/rtl/distance_engine.sv) and of what feeds it.
//
// Codes are int8 [nodes, beats * 64], padded with zeros, as is the query. A score is
//   (product << shift) + bias, larger is nearer
// so products of vectors have shift 0 and bias 0, and squared distances shift 1 and, for each code,
// minus its square. The order is total: score, then id. |bias| stays below 2^30.

#include <stdint.h>

namespace baton {
namespace fpga {

constexpr int kSearchBeatsMax = 64;  // of a code: 4096 dimensions
constexpr int kSearchKept = 64;      // of one stream of codes

// What the engine reads, in beats: a header (u32 count, u32 beats, u32 kept, u32 shift, u32
// query_beats), query_beats beats of the query (0: the one before; else the same as beats), then
// the codes, beats each; beside them a label for each code. It gives, where kept is 0, a score for
// each code in turn; otherwise the best `kept` of all, at most kSearchKept, the best first, empty
// cells behind. The C model ends where beats is 0.
struct CodeLabel {
  uint32_t id;
  int32_t bias;
};
static_assert(sizeof(CodeLabel) == 8, "read as it lies");

struct SearchHit {
  int64_t score;
  uint32_t id;  // UINT32_MAX: there are no more
  uint32_t reserved;
};
static_assert(sizeof(SearchHit) == 16, "written as it lies");

struct FlatScanArgs {
  uint32_t count;
  uint32_t beats;
  uint32_t kept;
  uint32_t shift;
};
static_assert(sizeof(FlatScanArgs) == 16, "read as it lies");

// Kernels trust their arguments: what has a fault must not get to a card. Null: none.
inline const char* FaultOf(const FlatScanArgs& a) {
  if (a.beats == 0 || a.beats > kSearchBeatsMax) return "flat scan: beats must be 1 to 64";
  if (a.kept == 0 || a.kept > kSearchKept) return "flat scan: kept must be 1 to 64";
  if (a.shift > 1) return "flat scan: shift must be 0 or 1";
  return nullptr;
}

// ---- A graph (Malkov and Yashunin, "Hierarchical Navigable Small World", 2018), as
// engine/vector/sealed_graph.h numbers it: the nodes of a level are the first so many of the level
// below, node 0 is where walks begin.

constexpr uint32_t kNoLink = UINT32_MAX;
constexpr uint32_t kGraphNodesMax = 1u << 22;  // a bit each, on chip
constexpr uint32_t kGraphLinksMax = 128;       // of a node
constexpr uint32_t kGraphEfMax = 256;
constexpr int kGraphLevelsMax = 16;

struct HnswArgs {
  uint32_t nodes;
  uint32_t beats;
  uint32_t shift;
  uint32_t degree;        // links of a node on level 0, padded with kNoLink
  uint32_t upper_degree;  // on the levels above
  uint32_t levels;        // above level 0
  uint32_t ef;
  uint32_t wanted;  // hits of a query, at most ef
  uint32_t queries;
  uint32_t some_dead;   // 1: only nodes with their bit in `live` are hits
  uint32_t fine_beats;  // of the int16 vectors that hits are scored with; 0: none, codes' scores
  uint32_t level_at[kGraphLevelsMax];  // of level 1, 2, ...: where its links begin, in links
};
static_assert(sizeof(HnswArgs) == 108, "read as it lies");

// Links must be below `nodes`, or on their level, too: that takes a look at all of them.
inline const char* FaultOf(const HnswArgs& a) {
  if (a.nodes > kGraphNodesMax) return "graph: nodes must be at most 4194304";
  if (a.beats == 0 || a.beats > kSearchBeatsMax) return "graph: beats must be 1 to 64";
  if (a.shift > 1) return "graph: shift must be 0 or 1";
  if (a.degree > kGraphLinksMax) return "graph: degree must be at most 128";
  if (a.upper_degree > kGraphLinksMax) return "graph: upper_degree must be at most 128";
  if (a.levels > kGraphLevelsMax) return "graph: levels must be at most 16";
  if (a.ef == 0 || a.ef > kGraphEfMax) return "graph: ef must be 1 to 256";
  if (a.wanted > a.ef) return "graph: wanted must be at most ef";
  return nullptr;
}

// ---- Lists of codes of a product quantiser, as engine/vector/pq_scan.h lays them out: blocks of
// 32 rows, a line of 64 bytes for each group of 4 sub-quantisers.

constexpr uint32_t kPqRowsOfBlock = 32;
constexpr uint32_t kPqGroupsMax = 128;

struct PqProbe {
  uint32_t first_block;
  uint32_t rows;
  int32_t base;
  uint32_t reserved;
};
static_assert(sizeof(PqProbe) == 16, "read as it lies");

// A row's key is base + term + factor * (sum of its entries), smaller is nearer; |key| stays below
// 2^31. Its score is minus the key.
struct PqScanArgs {
  uint32_t probes;
  uint32_t groups;
  int32_t factor;
  uint32_t kept;  // at most kSearchKept
  uint32_t some_dead;
};
static_assert(sizeof(PqScanArgs) == 20, "read as it lies");

inline const char* FaultOf(const PqScanArgs& a) {
  if (a.groups == 0 || a.groups > kPqGroupsMax) return "pq scan: groups must be 1 to 128";
  if (a.kept == 0 || a.kept > kSearchKept) return "pq scan: kept must be 1 to 64";
  return nullptr;
}

}  // namespace fpga
}  // namespace baton
