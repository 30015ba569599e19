#include "engine/vector/hnsw_graph.h"

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <mutex>
#include <new>
#include <span>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/vector/byte_codec.h"
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
  const DistanceParam* param() const { return &param_; }

 private:
  DistanceParam param_;
};

// hnswlib draws a row's level from an exponential distribution; 64 has a chance below 1e-19.
constexpr uint32_t kLevelMax = 64;

// Candidates kept by the walk that tries to get to a node. Larger finds more nodes reached, but
// those would be missed by searches with a smaller ef; and it adds a fifth to the time of building.
constexpr size_t kProbeEf = 32;

// Past the end of serialised bytes; larger than any count, level or row.
constexpr uint32_t kNoNumber = UINT32_MAX;

absl::Status Damaged(const char* what) {
  return absl::DataLossError(StrCat("graph is damaged: ", what));
}

}  // namespace

// The rows of each distinct vector; the first of them is the graph's node. Copies would not do as
// nodes of their own: a node's links all lead to its copies, and to nowhere else.
struct Nodes {
  explicit Nodes(const GraphRows& rows) {
    absl::flat_hash_map<std::string_view, uint32_t> node_of;  // by the vector's bytes
    const size_t vector_bytes = static_cast<size_t>(rows.dimension) * sizeof(float);
    for (uint32_t row = 0; row < rows.rows; ++row) {
      const float* vector = rows.vectors + int64_t{row} * rows.dimension;
      const std::string_view bytes(reinterpret_cast<const char*>(vector), vector_bytes);
      const auto [found, added] = node_of.emplace(bytes, static_cast<uint32_t>(first_row.size()));
      if (added) {
        first_row.push_back(row);
      } else {
        copies[found->second].push_back(row);
      }
    }
  }

  std::vector<uint32_t> first_row;                              // [nodes]
  absl::flat_hash_map<uint32_t, std::vector<uint32_t>> copies;  // node -> the other rows
};

// hnswlib's index with the serialisation done here: hnswlib's own neither checks nor syncs what it
// writes, and trusts what it reads.
class HnswGraph::Index {
 public:
  explicit Index(const GraphRows& rows)
      : space_(rows),
        rows_(rows),
        nodes_(rows),
        hnsw_(&space_, nodes_.first_row.size(), static_cast<size_t>(rows.m),
              static_cast<size_t>(rows.ef_construction)) {}

  // False when stopped.
  bool AddAll(absl::FunctionRef<bool()> stop) {
    for (uint32_t node = 0; node < node_count(); ++node) {
      if (stop()) return false;
      const Item item(VectorOf(node));
      hnsw_.addPoint(&item, node);  // internal id = label = node
    }
    for (uint32_t node = 0; node < node_count(); ++node) {
      if (stop()) return false;
      if (!Reached(node)) unreached_.push_back(node);
    }
    FreeWhatOnlyBuildingNeeds();
    return true;
  }

  std::string Serialize() const {
    std::string out;
    AppendNumber<uint32_t>(out, hnsw_.enterpoint_node_);
    AppendNumber<uint32_t>(out, static_cast<uint32_t>(hnsw_.maxlevel_));
    for (uint32_t node = 0; node < node_count(); ++node) {
      const int levels = hnsw_.element_levels_[node];
      AppendNumber<uint32_t>(out, static_cast<uint32_t>(levels));
      for (int level = 0; level <= levels; ++level) {
        const std::span<const uint32_t> links = Links(node, level);
        AppendNumber<uint32_t>(out, static_cast<uint32_t>(links.size()));
        out.append(reinterpret_cast<const char*>(links.data()), links.size_bytes());
      }
    }
    for (const uint32_t node : unreached_) AppendNumber(out, node);
    return out;
  }

  absl::Status Restore(std::string_view bytes) {
    ByteReader reader(bytes);
    const uint32_t entry = reader.Take<uint32_t>().value_or(kNoNumber);
    const uint32_t level_max = reader.Take<uint32_t>().value_or(kNoNumber);
    if (entry >= node_count() || level_max > kLevelMax) return Damaged("entry point");
    for (uint32_t node = 0; node < node_count(); ++node) {
      RETURN_IF_ERROR(RestoreNode(node, level_max, reader));
    }
    while (!reader.at_end()) {
      const uint32_t node = reader.Take<uint32_t>().value_or(kNoNumber);
      if (node >= node_count()) return Damaged("unreached node");
      unreached_.push_back(node);
    }
    if (hnsw_.element_levels_[entry] != static_cast<int>(level_max)) {
      return Damaged("entry point is below the top level");
    }
    // Links are checked once all levels are known: one on level L leads to a node that has level L.
    for (uint32_t node = 0; node < node_count(); ++node) {
      for (int level = 1; level <= hnsw_.element_levels_[node]; ++level) {
        for (const uint32_t link : Links(node, level)) {
          if (hnsw_.element_levels_[link] < level) return Damaged("link to a lower node");
        }
      }
    }
    hnsw_.enterpoint_node_ = entry;
    hnsw_.maxlevel_ = static_cast<int>(level_max);
    FreeWhatOnlyBuildingNeeds();
    return absl::OkStatus();
  }

  std::vector<GraphNeighbor> Search(const float* query, int64_t ef) const {
    const Item item(query);
    auto found = hnsw_.searchKnn(&item, static_cast<size_t>(ef));
    std::vector<GraphNeighbor> neighbors;
    neighbors.reserve(found.size() + unreached_.size());
    for (; !found.empty(); found.pop()) {
      AddNode(static_cast<uint32_t>(found.top().second), found.top().first, neighbors);
    }
    for (const uint32_t node : unreached_) {
      const Item other(VectorOf(node));
      AddNode(node, ItemDistance(&item, &other, space_.param()), neighbors);
    }
    return neighbors;
  }

 private:
  uint32_t node_count() const { return static_cast<uint32_t>(nodes_.first_row.size()); }
  const float* VectorOf(uint32_t node) const {
    return rows_.vectors + int64_t{nodes_.first_row[node]} * rows_.dimension;
  }

  std::span<const uint32_t> Links(uint32_t node, int level) const {
    hnswlib::linklistsizeint* list = hnsw_.get_linklist_at_level(node, level);
    return {list + 1, hnsw_.getListCount(list)};
  }

  void AddNode(uint32_t node, float distance, std::vector<GraphNeighbor>& neighbors) const {
    neighbors.push_back({distance, nodes_.first_row[node]});
    const auto copies = nodes_.copies.find(node);
    if (copies == nodes_.copies.end()) return;
    for (const uint32_t row : copies->second) neighbors.push_back({distance, row});
  }

  absl::Status RestoreNode(uint32_t node, uint32_t level_max, ByteReader& reader) {
    const uint32_t levels = reader.Take<uint32_t>().value_or(kNoNumber);
    if (levels > level_max) return Damaged("level of a node");
    std::memset(hnsw_.get_linklist0(node), 0, hnsw_.size_links_level0_);
    const Item item(VectorOf(node));
    std::memcpy(hnsw_.getDataByInternalId(node), &item, sizeof(item));
    hnsw_.setExternalLabel(node, node);
    if (levels > 0) {
      // As hnswlib allocates it, since hnswlib frees it.
      const size_t bytes = hnsw_.size_links_per_element_ * levels + 1;
      hnsw_.linkLists_[node] = static_cast<char*>(std::calloc(bytes, 1));
      if (hnsw_.linkLists_[node] == nullptr) return absl::ResourceExhaustedError("out of memory");
    }
    hnsw_.element_levels_[node] = static_cast<int>(levels);
    hnsw_.cur_element_count = node + 1;  // so that the destructor frees what is there
    for (uint32_t level = 0; level <= levels; ++level) {
      const uint32_t count = reader.Take<uint32_t>().value_or(kNoNumber);
      if (count > (level == 0 ? hnsw_.maxM0_ : hnsw_.maxM_)) return Damaged("number of links");
      hnswlib::linklistsizeint* list = hnsw_.get_linklist_at_level(node, static_cast<int>(level));
      hnsw_.setListCount(list, static_cast<unsigned short>(count));
      for (uint32_t i = 0; i < count; ++i) {
        list[1 + i] = reader.Take<uint32_t>().value_or(kNoNumber);
        if (list[1 + i] >= node_count()) return Damaged("link");
      }
    }
    return absl::OkStatus();
  }

  void FreeWhatOnlyBuildingNeeds() {
    std::vector<std::mutex>().swap(hnsw_.link_list_locks_);         // 40 bytes per node
    std::vector<std::mutex>().swap(hnsw_.link_list_update_locks_);  // 2.6 MB
    hnsw_.label_lookup_ = {};
  }

  // Whether a walk for the node's own vector gets to it.
  bool Reached(uint32_t node) const {
    const Item item(VectorOf(node));
    auto found = hnsw_.searchKnn(&item, kProbeEf);
    for (; !found.empty(); found.pop()) {
      if (found.top().second == node) return true;
    }
    return false;
  }

  Space space_;
  const GraphRows rows_;
  const Nodes nodes_;
  hnswlib::HierarchicalNSW<float> hnsw_;
  // Nodes that no walk gets to, since pruning took their links or they lie far from all others:
  // every search looks at them. About 1 in 100 of random vectors, where graphs fare worst.
  std::vector<uint32_t> unreached_;
};

HnswGraph::HnswGraph(std::unique_ptr<Index> index) : index_(std::move(index)) {}
HnswGraph::~HnswGraph() = default;

absl::StatusOr<std::unique_ptr<HnswGraph>> HnswGraph::Build(const GraphRows& rows,
                                                            absl::FunctionRef<bool()> stop) {
  try {
    auto index = std::make_unique<Index>(rows);
    if (!index->AddAll(stop)) return absl::CancelledError("graph building was stopped");
    return std::unique_ptr<HnswGraph>(new HnswGraph(std::move(index)));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("out of memory while building a graph");
  } catch (const std::exception& error) {
    return absl::InternalError(StrCat("hnswlib while building a graph: ", error.what()));
  }
}

absl::StatusOr<std::unique_ptr<HnswGraph>> HnswGraph::Deserialize(const GraphRows& rows,
                                                                  std::string_view bytes) {
  try {
    auto index = std::make_unique<Index>(rows);
    RETURN_IF_ERROR(index->Restore(bytes));
    return std::unique_ptr<HnswGraph>(new HnswGraph(std::move(index)));
  } catch (const std::exception& error) {
    return absl::ResourceExhaustedError(StrCat("while loading a graph: ", error.what()));
  }
}

std::string HnswGraph::Serialize() const { return index_->Serialize(); }

absl::StatusOr<std::vector<GraphNeighbor>> HnswGraph::Search(const float* query, int64_t ef) const {
  try {
    return index_->Search(query, ef);
  } catch (const std::exception& error) {
    return absl::InternalError(StrCat("hnswlib while searching: ", error.what()));
  }
}

}  // namespace baton
