#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_ivf_lists.h"
#include "engine/exec/plugin_vectors.h"
#include "engine/exec/search_batches.h"
#include "engine/exec/search_memory.h"
#include "engine/vector/view_part.h"
#include "engine/vector/view_rescore.h"

namespace baton {

// Search on a plug-in's device, of whole views. Collections with inverted files are searched by
// SearchView, with the scans of lists done there (PluginIvfLists): the same answers as the CPU's.
// All else, and what is to be exact, is compared row by row, growing buffers and graphs alike, so
// every answer is that of params.exact. The device compares rounded
// vectors and gives more candidates than are asked for; these are scored here by DistanceFor, and
// an answer counts once it is proven that no other row could be in it (SearchBound). Where it is
// not, more candidates are asked for, and at last this machine's memory is scanned.
//
// One batch at a time is on the device; others are scored meanwhile. Thread safe.
class PluginSearch final : public SearchSkill {
 public:
  struct Options {
    int64_t memory_bytes_max = 0;  // of the device's, for vectors
    int threads = 2;
    int64_t queue_batches = 256;  // waiting
  };

  // Whether the plug-in's devices search.
  static bool CanWork(const baton_executor_plugin& table);
  // `clock` outlives it.
  PluginSearch(std::shared_ptr<PluginDevice> device, const Options& options, const Clock& clock);

  std::string Unable(const CollectionView& view, const SearchParams& params) const override;
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }

  int32_t queue_depth() const { return batches_.queue_depth(); }

  // Of queries, so far.
  struct Counts {
    int64_t all = 0;
    int64_t again = 0;    // that wanted more candidates
    int64_t scanned = 0;  // that a scan of this machine's memory answered in the end
  };
  // Null: the device scans no inverted files.
  const PluginIvfLists* ivf_lists() const { return ivf_lists_ ? &*ivf_lists_ : nullptr; }
  Counts counts() const { return {.all = all_, .again = again_, .scanned = scanned_}; }

 private:
  struct Task;
  // How many candidates are asked for, and whether rows that are dead by now may be among them.
  struct Round {
    int32_t candidates;
    bool fresh;
  };

  // Whether the device scans the lists of all inverted files of a view, of which there are some.
  bool Probes(const CollectionView& view, const SearchParams& params) const;
  absl::Status Search(const SearchBatch& batch, SearchPoll poll, SearchBatchResult& result);
  // Answers those of `queries`, by their place in the batch, that it can prove; leaves the others.
  absl::Status Answer(Task& task, const Round& round, std::vector<size_t>* queries);
  absl::Status AskDevice(Task& task, const Round& round, std::span<const size_t> queries);
  bool Score(Task& task, const Round& round, size_t place, size_t query);

  const std::shared_ptr<PluginDevice> device_;
  std::mutex device_mutex_;
  SearchMemory memory_;                      // device_mutex_, but for what is const
  PluginVectors vectors_;                    // as well
  std::optional<PluginIvfLists> ivf_lists_;  // with device_mutex_
  std::atomic<int64_t> all_{0};
  std::atomic<int64_t> again_{0};
  std::atomic<int64_t> scanned_{0};

  SearchBatches batches_;  // last: its threads use everything above
};

}  // namespace baton
