#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/search_bound.h"
#include "engine/exec/search_memory.h"
#include "engine/vector/view_part.h"
#include "engine/vector/view_search.h"

namespace baton {

// As the ABI says it: vectors are of unit length under kCosine.
inline baton_metric AbiMetricOf(Metric metric) {
  return metric == Metric::kL2 ? BATON_METRIC_L2 : BATON_METRIC_INNER_PRODUCT;
}

// Which rows of collections a plug-in's device holds. They are brought when a search asks for them
// and stay: a segment's once and for all, a growing buffer's as they come. What was not asked for
// the longest goes where room is needed (SearchMemory); what no view has any more goes with the
// next look. Which rows are dead is sent when it matters. Not thread safe.
class PluginVectors {
 public:
  // `memory` outlives it.
  PluginVectors(std::shared_ptr<PluginDevice> device, SearchMemory& memory)
      : device_(std::move(device)), memory_(memory) {}

  // A part of a view on the device.
  struct Resident {
    baton_vector_rows* rows = nullptr;
    // In its place, where marks on the device are of a later time than the view.
    std::vector<uint32_t> live = {};
  };
  struct Brought {
    std::vector<Resident> parts;  // as were asked for
    RoundedRows rounded;
  };

  // All that a search of the view reads; valid until the next call. Rows that were deleted may be
  // taken for live, a small share of them, or with `fresh` none. RESOURCE_EXHAUSTED: there is no
  // room for them. Blocks while they are copied.
  absl::StatusOr<Brought> Bring(const CollectionView& view, std::span<const ViewPart> parts,
                                bool fresh, SearchPoll poll);
  // Of the device's memory, what that takes; rows that are there already included.
  int64_t BytesOf(const CollectionSpec& spec, std::span<const ViewPart> parts) const;

  // Gives back what no view has any more.
  void DropDead();
  // Gives back a part whose rows turned out not to be what they should.
  void Forget(const ViewPart& part);

 private:
  struct FreeRows {
    PluginDevice* device;
    void operator()(baton_vector_rows* rows) const {
      device->table().rows_free(device->handle(), rows);
    }
  };
  struct Entry {
    std::weak_ptr<const void> owner;
    std::unique_ptr<baton_vector_rows, FreeRows> rows;
    int64_t capacity = 0;
    int64_t loaded = 0;
    RoundedRows rounded;
    // As of which write they are marked, how many rows, and how many of these are live then.
    WriteSequence marked_at = 0;
    int64_t marked_rows = 0;
    int64_t marked_live = 0;
    SearchMemory::Place place;
  };

  static baton_rows_shape ShapeOf(const CollectionSpec& spec, const ViewPart& part);
  absl::StatusOr<Entry*> Hold(const CollectionSpec& spec, const ViewPart& part);
  absl::Status Create(const baton_rows_shape& shape, Entry* entry);
  absl::Status Load(const CollectionSpec& spec, const ViewPart& part, SearchPoll poll,
                    Entry& entry);
  absl::Status Mark(const CollectionView& view, const ViewPart& part, bool fresh, Entry& entry,
                    Resident* resident);
  void Erase(const void* owner);

  const std::shared_ptr<PluginDevice> device_;
  SearchMemory& memory_;
  std::unordered_map<const void*, Entry> entries_;  // by owner
};

}  // namespace baton
