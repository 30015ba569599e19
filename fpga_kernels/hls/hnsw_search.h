#pragma once

#include "fpga_kernels/hls/distance_engine.h"

namespace baton {
namespace fpga {

// How deep the stream of scores must be: a node's codes all go to the engine before a score is
// read.
constexpr int kHnswScoresDepth = kGraphLinksMax;

// Walks of a graph, a distance engine beside it. Strictly best-first: of the `ef` nearest met,
// always to the nearest whose links were not followed. Then the nearest of these that are live,
// scored by their int16 vectors where there are any: hits [queries, wanted].
//   queries [queries, beats]; codes [nodes, beats]; biases [nodes]
//   links [nodes, degree]; upper_links, from level_at[level - 1] on [nodes of the level,
//   upper_degree] live [nodes / 32, rounded up]; fine_queries, fine [., fine_beats], 32 int16 a
//   beat
// Tells the engine to end.
extern "C" void hnsw_search(const HnswArgs* args, const Beat* queries, const Beat* codes,
                            const int32_t* biases, const uint32_t* links,
                            const uint32_t* upper_links, const uint32_t* live,
                            const Beat* fine_queries, const Beat* fine, SearchHit* hits,
                            Stream<Beat>& to_engine, Stream<CodeLabel>& labels,
                            Stream<Scored>& scores);

}  // namespace fpga
}  // namespace baton
