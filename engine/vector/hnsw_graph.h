#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/vector/graph_rows.h"

namespace baton {

// A hierarchical navigable small world graph as hnswlib builds it, which GraphLinker's are compared
// with. The only file that includes hnswlib, whose header can be compiled into one translation unit
// only; its exceptions end there.
class HnswGraph final : public GraphLinks {
 public:
  // Takes about rows * ef_construction * m distances of time. CANCELLED once `stop` says so, asked
  // once per node.
  static absl::StatusOr<std::unique_ptr<HnswGraph>> Build(const GraphRows& rows,
                                                          const GraphNodes& nodes,
                                                          absl::FunctionRef<bool()> stop);
  ~HnswGraph() override;
  HnswGraph(const HnswGraph&) = delete;
  HnswGraph& operator=(const HnswGraph&) = delete;

  uint32_t entry() const override;
  int LevelOf(uint32_t node) const override;
  std::span<const uint32_t> Links(uint32_t node, int level) const override;

 private:
  class Index;
  explicit HnswGraph(std::unique_ptr<Index> index);
  const std::unique_ptr<Index> index_;
};

}  // namespace baton
