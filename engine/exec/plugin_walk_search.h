#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "engine/base/clock.h"
#include "engine/exec/executor.h"
#include "engine/exec/plugin_device.h"
#include "engine/exec/plugin_walk_graphs.h"
#include "engine/exec/search_batches.h"

namespace baton {

// Search of views whose graphs a plug-in's device walks: SearchView, with these walks in the place
// of its own. So what there is beside graphs that are worth a walk (growing buffers, small
// segments, filters that few rows match) is compared here as ever, what the device found is scored
// here by DistanceFor, and answers differ from the CPU's only where a walk by coarser codes meets
// other rows. Thread safe.
class PluginWalkSearch final : public SearchSkill {
 public:
  struct Options {
    int threads = 2;
    int64_t queue_batches = 256;  // waiting
  };

  // Whether the plug-in's devices walk graphs.
  static bool CanWork(const baton_executor_plugin& table);
  // `clock` outlives it.
  PluginWalkSearch(std::shared_ptr<PluginDevice> device, const Options& options,
                   const Clock& clock);

  // Also where nothing would be left to the device.
  std::string Unable(const CollectionView& view, const SearchParams& params) const override;
  void Execute(SearchBatch batch, absl::AnyInvocable<void(SearchBatchResult)> done) override {
    batches_.Execute(std::move(batch), std::move(done));
  }

  int32_t queue_depth() const { return batches_.queue_depth(); }
  const PluginWalkGraphs& graphs() const { return graphs_; }

 private:
  const std::shared_ptr<PluginDevice> device_;
  PluginWalkGraphs graphs_;
  SearchBatches batches_;  // last: its threads use everything above
};

}  // namespace baton
