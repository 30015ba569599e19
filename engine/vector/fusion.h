#pragma once

#include <span>
#include <vector>

#include "engine/request/vector_request.h"
#include "engine/vector/collection_view.h"

namespace baton {

// A hit by vector, by text or by both. `neighbor.distance` is the negated score.
struct FusedHit {
  Neighbor neighbor;
  ScoreParts parts;
};

// One list of two, by descending score, then id. Both are as searches find them: nearest first.
//
// kReciprocalRank: the sum of weight / (rank_constant + rank) over the lists that have the point
// (Cormack, Clarke and Buettcher, "Reciprocal rank fusion outperforms Condorcet and individual rank
// learning methods", 2009). kWeighted: the mean, by weight, of the two scores, each scaled so that
// the best of its list is 1 and the last one 0 (all 1 where they are equal); 0 where a list does
// not have the point.
//
// metric: of the dense scores that the parts say
std::vector<FusedHit> Fuse(std::span<const Neighbor> dense, std::span<const Neighbor> text,
                           Metric metric, const FusionParams& params);

}  // namespace baton
