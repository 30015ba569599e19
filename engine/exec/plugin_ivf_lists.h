#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/exec/plugin_device.h"
#include "engine/vector/view_prober.h"
#include "engine/vector/view_search.h"

namespace baton {

// Which segments' inverted files a plug-in's device holds, codes alone, and scans of them. One is
// brought when a search asks for it and stays; what was not asked for the longest goes where room
// is needed, what no view has any more goes with the next look. Which rows count travels with each
// scan, as bits. Thread safe: one scan is on the device at a time, while others are prepared and
// scored.
class PluginIvfLists final : public ViewProber {
 public:
  // Device memory that is shared with others, all of whose functions are called with `mutex` held.
  struct Room {
    std::mutex* mutex;
    int64_t bytes_max;
    std::function<int64_t()> bytes_of_others;
    std::function<bool()> evict_others;  // false: they have nothing
  };

  // Whether the plug-in's devices scan lists.
  static bool CanWork(const baton_executor_plugin& table);
  PluginIvfLists(std::shared_ptr<PluginDevice> device, Room room)
      : device_(std::move(device)), room_(std::move(room)) {}

  bool Takes(const ViewIvf& file, int64_t candidates) const override;
  // UNAVAILABLE: there is no room, or the device is lost.
  absl::Status Probe(const ListProbe& probe, std::span<const std::vector<float>> queries,
                     SearchPoll poll, std::vector<uint32_t>* rows) override;

  // Of the device's memory, what a file takes there; 0: the device cannot scan it.
  int64_t BytesOf(const ViewIvf& file) const;

  // With the room's mutex held.
  int64_t bytes() const { return bytes_; }
  bool Evict();  // what was not asked for the longest; false: there is nothing

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
    int64_t bytes = 0;
    uint64_t used = 0;  // when: a number of Bring
    // Bits of the rows that are live where so many are: rows die and do not come back.
    int64_t live_rows = -1;
    std::vector<uint32_t> live;
  };

  absl::StatusOr<Entry*> Bring(const ViewIvf& file);
  void Erase(const void* owner);

  const std::shared_ptr<PluginDevice> device_;
  const Room room_;
  int64_t bytes_ = 0;  // room_.mutex, as are the next two
  uint64_t now_ = 0;
  std::unordered_map<const void*, Entry> entries_;  // by owner
  std::atomic<int64_t> scans_{0};
  std::atomic<int64_t> loads_{0};
  std::atomic<int64_t> evictions_{0};
};

}  // namespace baton
