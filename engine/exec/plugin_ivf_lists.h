#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/search_memory.h"
#include "engine/vector/view_prober.h"
#include "engine/vector/view_search.h"

namespace baton {

// Which segments' inverted files a plug-in's device holds, codes alone, and scans of them. One is
// brought when a search asks for it and stays; what was not asked for the longest goes where room
// is needed (SearchMemory), what no view has any more goes with the next look. Which rows count
// travels with each scan, as bits. Thread safe: one scan is on the device at a time, while others
// are prepared and scored.
class PluginIvfLists final : public ViewProber {
 public:
  // Whether the plug-in's devices scan lists.
  static bool CanWork(const baton_executor_plugin& table);
  // `memory`, and `mutex`, with which it is shared with others, outlive it.
  PluginIvfLists(std::shared_ptr<PluginDevice> device, SearchMemory& memory, std::mutex& mutex)
      : device_(std::move(device)), memory_(memory), mutex_(mutex) {}

  bool Takes(const ViewIvf& file, int64_t candidates) const override;
  // UNAVAILABLE: there is no room, or the device is lost.
  absl::Status Probe(const ListProbe& probe, std::span<const std::vector<float>> queries,
                     SearchPoll poll, std::vector<uint32_t>* rows) override;

  // Of the device's memory, what a file takes there; 0: the device cannot scan it.
  int64_t BytesOf(const ViewIvf& file) const;

  int64_t scans() const { return scans_; }  // of one query in one file, so far
  int64_t loads() const { return loads_; }
  int64_t evictions() const { return evictions_; }

 private:
  struct FreeLists {
    PluginDevice* device;
    void operator()(baton_ivf_lists* lists) const {
      device->table().ivf_free(device->handle(), lists);
    }
  };
  struct Entry {
    std::weak_ptr<const void> owner;
    std::unique_ptr<baton_ivf_lists, FreeLists> lists;
    // Bits of the rows that are live where so many are: rows die and do not come back.
    int64_t live_rows = -1;
    std::vector<uint32_t> live;
    SearchMemory::Place place;
  };

  absl::StatusOr<Entry*> Bring(const ViewIvf& file);
  void Evict(const void* owner);

  const std::shared_ptr<PluginDevice> device_;
  SearchMemory& memory_;  // mutex_
  std::mutex& mutex_;
  std::unordered_map<const void*, Entry> entries_;  // mutex_: by owner
  std::atomic<int64_t> scans_{0};
  std::atomic<int64_t> loads_{0};
  std::atomic<int64_t> evictions_{0};
};

}  // namespace baton
