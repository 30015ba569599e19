#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/request/vector_request.h"

namespace baton {

// The rows a graph is over. They are the segment's; the graph keeps only links, and refers to them.
struct GraphRows {
  const float* vectors = nullptr;  // [rows, dimension], row-major; outlive the graph, never move
  int64_t rows = 0;                // 1 to 2^31 - 1
  int32_t dimension = 0;
  Metric metric = Metric::kCosine;
  int32_t m = 0;
  int32_t ef_construction = 0;
};

struct GraphNeighbor {
  float distance = 0;
  int64_t row = 0;
};

// A hierarchical navigable small world graph, by hnswlib. Immutable once built: searches need no
// lock of ours and may run concurrently. The only file that includes hnswlib, whose header can be
// compiled into one translation unit only; its exceptions end there.
class HnswGraph {
 public:
  // Takes about rows * ef_construction * m distances of time. CANCELLED once `stop` says so.
  static absl::StatusOr<std::unique_ptr<HnswGraph>> Build(const GraphRows& rows,
                                                          absl::FunctionRef<bool()> stop);
  // The reverse of Serialize for the same rows and parameters. Any bytes are safe: DATA_LOSS where
  // they are no graph over `rows`.
  static absl::StatusOr<std::unique_ptr<HnswGraph>> Deserialize(const GraphRows& rows,
                                                                std::string_view bytes);
  ~HnswGraph();
  HnswGraph(const HnswGraph&) = delete;
  HnswGraph& operator=(const HnswGraph&) = delete;

  std::string Serialize() const;

  // About the `ef` nearest distinct vectors of `query`, [dimension]: all rows that have them, in no
  // order, and a few others. Distances are those of DistanceFor.
  absl::StatusOr<std::vector<GraphNeighbor>> Search(const float* query, int64_t ef) const;

 private:
  class Index;
  explicit HnswGraph(std::unique_ptr<Index> index);
  const std::unique_ptr<Index> index_;
};

}  // namespace baton
