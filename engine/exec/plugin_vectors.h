#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/search_bound.h"
#include "engine/vector/view_part.h"
#include "engine/vector/view_search.h"

namespace baton {

// As the ABI says it: vectors are of unit length under kCosine.
inline baton_metric AbiMetricOf(Metric metric) {
  return metric == Metric::kL2 ? BATON_METRIC_L2 : BATON_METRIC_INNER_PRODUCT;
}

// Which rows of collections a plug-in's device holds. They are brought when a search asks for them
// and stay: a segment's once and for all, a growing buffer's as they come. What was not asked for
// the longest goes where room is needed; what no view has any more goes with the next look. Which
// rows are dead is sent when it matters. Not thread safe.
class PluginVectors {
 public:
  // `bytes_max`: of the device's memory.
  PluginVectors(std::shared_ptr<PluginDevice> device, int64_t bytes_max)
      : device_(std::move(device)), bytes_max_(bytes_max) {}

  // Who else has of these bytes, and gives some back where there is no room; false: there is
  // nothing. Called by Bring.
  struct Others {
    std::function<int64_t()> bytes = [] { return int64_t{0}; };
    std::function<bool()> evict = [] { return false; };
  };
  void ShareWith(Others others) { others_ = std::move(others); }

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

  int64_t bytes_max() const { return bytes_max_; }
  int64_t bytes() const { return bytes_; }
  int64_t evictions() const { return evictions_; }  // of what was still in use, so far
  // Gives back what no view has any more.
  void DropDead();
  // What was not asked for the longest, between two calls of Bring; false: there is nothing.
  bool EvictOldest() {
    ++now_;
    return Evict();
  }
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
    int64_t bytes = 0;
    int64_t capacity = 0;
    int64_t loaded = 0;
    RoundedRows rounded;
    uint64_t used = 0;  // when: a number of Bring
    // As of which write they are marked, how many rows, and how many of these are live then.
    WriteSequence marked_at = 0;
    int64_t marked_rows = 0;
    int64_t marked_live = 0;
  };

  static baton_rows_shape ShapeOf(const CollectionSpec& spec, const ViewPart& part);
  absl::StatusOr<Entry*> Hold(const CollectionSpec& spec, const ViewPart& part);
  absl::Status Create(const baton_rows_shape& shape, Entry* entry);
  absl::Status Load(const CollectionSpec& spec, const ViewPart& part, SearchPoll poll,
                    Entry& entry);
  absl::Status Mark(const CollectionView& view, const ViewPart& part, bool fresh, Entry& entry,
                    Resident* resident);
  // Frees what was used before this call the longest ago; false: there is nothing.
  bool Evict();
  void Erase(const void* owner);

  const std::shared_ptr<PluginDevice> device_;
  const int64_t bytes_max_;
  Others others_;
  int64_t bytes_ = 0;
  int64_t evictions_ = 0;
  uint64_t now_ = 0;
  std::unordered_map<const void*, Entry> entries_;  // by owner
};

}  // namespace baton
