#pragma once

#include <string>

#include "tests/bench/vector_sets.h"

namespace baton {

// What one core does in building a graph over a set, and hnswlib, compiled for this machine, in the
// same minutes: by the processor time of the thread, since the machine may not be alone.
struct BuildRate {
  double ours_per_s = 0;  // rows, all that sealing a segment takes but its file
  double peer_per_s = 0;
  double ratio = 0;  // median over the rounds
  // recall@10 at the same ef: searches of our graph, of a graph with hnswlib's links that is
  // searched the same way, and hnswlib's own.
  double ours_recall = 0;
  double twin_recall = 0;
  double peer_recall = 0;
};

// With M = 16 and efConstruction = 200.
BuildRate MeasureBuildRate(const VectorSet& set, int rounds);

}  // namespace baton
