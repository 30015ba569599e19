#include "engine/vector/hnsw_graph.h"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "engine/base/strings.h"
#include "engine/vector/distance.h"
#include "hnswlib/hnswlib.h"

namespace baton {
namespace {

// What hnswlib stores per node and passes to the distance function: where the vector is. The
// vectors themselves stay in the segment, once. hnswlib puts 8 m + 4 bytes of links before an item
// and an 8-byte label behind it: 12 bytes align the label. Items themselves are aligned to 4 bytes
// only.
class Item {
 public:
  explicit Item(const float* vector) { std::memcpy(bytes_, &vector, sizeof(vector)); }
  static const float* VectorAt(const void* item) {
    const float* vector;
    std::memcpy(&vector, item, sizeof(vector));
    return vector;
  }

 private:
  std::byte bytes_[12] = {};
};
static_assert(sizeof(Item) == 12);

struct DistanceParam {
  DistanceFn distance = nullptr;
  int64_t dimension = 0;
};

float ItemDistance(const void* a, const void* b, const void* param) {
  const auto& p = *static_cast<const DistanceParam*>(param);
  float distance;
  p.distance(Item::VectorAt(a), Item::VectorAt(b), 1, p.dimension, &distance);
  return distance;
}

class Space final : public hnswlib::SpaceInterface<float> {
 public:
  explicit Space(const GraphRows& rows)
      : param_{.distance = DistanceFor(rows.metric), .dimension = rows.dimension} {}
  size_t get_data_size() override { return sizeof(Item); }
  hnswlib::DISTFUNC<float> get_dist_func() override { return ItemDistance; }
  void* get_dist_func_param() override { return &param_; }

 private:
  DistanceParam param_;
};

}  // namespace

class HnswGraph::Index {
 public:
  Index(const GraphRows& rows, const GraphNodes& nodes)
      : space_(rows),
        rows_(rows),
        nodes_(nodes),
        hnsw_(&space_, nodes_.count(), static_cast<size_t>(rows.m),
              static_cast<size_t>(rows.ef_construction)) {}

  // False when stopped.
  bool AddAll(absl::FunctionRef<bool()> stop) {
    for (uint32_t node = 0; node < nodes_.count(); ++node) {
      if (stop()) return false;
      const Item item(rows_.vectors + int64_t{nodes_.first_row[node]} * rows_.dimension);
      hnsw_.addPoint(&item, node);  // internal id = label = node
    }
    return true;
  }

  uint32_t entry() const { return hnsw_.enterpoint_node_; }
  int LevelOf(uint32_t node) const {
    return std::min(hnsw_.element_levels_[node], HnswGraph::kLevelMax);
  }
  std::span<const uint32_t> Links(uint32_t node, int level) const {
    hnswlib::linklistsizeint* list = hnsw_.get_linklist_at_level(node, level);
    return {list + 1, hnsw_.getListCount(list)};
  }

 private:
  Space space_;
  const GraphRows rows_;
  const GraphNodes& nodes_;
  hnswlib::HierarchicalNSW<float> hnsw_;
};

HnswGraph::HnswGraph(std::unique_ptr<Index> index) : index_(std::move(index)) {}
HnswGraph::~HnswGraph() = default;

absl::StatusOr<std::unique_ptr<HnswGraph>> HnswGraph::Build(const GraphRows& rows,
                                                            const GraphNodes& nodes,
                                                            absl::FunctionRef<bool()> stop) {
  try {
    auto index = std::make_unique<Index>(rows, nodes);
    if (!index->AddAll(stop)) return absl::CancelledError("graph building was stopped");
    return std::unique_ptr<HnswGraph>(new HnswGraph(std::move(index)));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while building a graph");
  } catch (const std::exception& error) {
    return absl::InternalError(StrCat("hnswlib while building a graph: ", error.what()));
  }
}

uint32_t HnswGraph::entry() const { return index_->entry(); }
int HnswGraph::LevelOf(uint32_t node) const { return index_->LevelOf(node); }
std::span<const uint32_t> HnswGraph::Links(uint32_t node, int level) const {
  return index_->Links(node, level);
}

}  // namespace baton
