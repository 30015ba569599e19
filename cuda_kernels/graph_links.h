#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda_kernels/pack_vectors.h"

namespace baton::cuda {

// A graph of near neighbors in three steps, of which the first is DistanceTopK with the nodes as
// queries: PruneLinks of what that finds, ReverseLinks of what remains, PruneLinks of both
// together. Keys are distances and nodes (merge_top_k.h).

// Of each node's candidates, the nearest first, those that are nearer to it than to any that was
// kept before; all, where there are fewer than wanted: the rule by which
// engine/vector/graph_linker.h links (Malkov and Yashunin, "Hierarchical Navigable Small World
// graphs", 2018, algorithm 4). Their distances are taken anew, of the vectors as they are.
struct PruneLinksArgs {
  const float* vectors;        // [all nodes, dimension], row-major
  const uint64_t* candidates;  // [nodes, candidate_count], in any order; none twice is needed
  const uint64_t* others;      // [nodes, other_count], further ones, or null
  uint64_t* kept;   // [nodes, wanted], nearest first; all bits set behind the last; or null
  uint32_t* links;  // [nodes, wanted]: their nodes; kNoRow behind the last; or null
  int64_t nodes;
  int64_t first_node;  // the number of the first of these
  int64_t dimension;
  VectorMetric metric;      // kL2 or kInnerProduct
  int32_t candidate_count;  // these and others: at most kPruneCandidatesMax
  int32_t other_count;      // 0 where others is null
  int32_t wanted;           // 1 or more
};
inline constexpr int32_t kPruneCandidatesMax = 1024;
cudaError_t PruneLinks(const PruneLinksArgs& args, cudaStream_t stream);

// For each link from u to v one from v to u: each place of v's list is for the nodes that have the
// same number modulo `room`, of which the nearest gets it. So lists are the same on every run.
struct ReverseLinksArgs {
  const uint64_t* kept;  // [nodes, wanted], as PruneLinks leaves it
  uint64_t* reverse;     // [nodes, room], written; all bits set: none
  int64_t nodes;
  int32_t wanted;
  int32_t room;
};
cudaError_t ReverseLinks(const ReverseLinksArgs& args, cudaStream_t stream);

}  // namespace baton::cuda
