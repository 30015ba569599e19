#include "engine/exec/plugin_walk_search.h"

#include <cstddef>
#include <vector>

#include "engine/base/status_macros.h"
#include "engine/base/strings.h"

namespace baton {

bool PluginWalkSearch::CanWork(const baton_executor_plugin& table) {
  constexpr size_t kWalkTableBytes =
      offsetof(baton_executor_plugin, walk) + sizeof(baton_executor_plugin::walk);
  return PluginDevice::CanWork(table) && table.struct_size >= kWalkTableBytes &&
         table.walk != nullptr;
}

PluginWalkSearch::PluginWalkSearch(std::shared_ptr<PluginDevice> device, const Options& options,
                                   const Clock& clock)
    : device_(std::move(device)),
      graphs_(device_),
      batches_({.device = device_->options().label,
                .threads = options.threads,
                .queue_batches = options.queue_batches},
               clock, [this](const SearchBatch& batch, SearchPoll poll, SearchBatchResult& result) {
                 RETURN_IF_ERROR(poll());
                 return SearchView(*batch.view, batch.queries, batch.params, poll,
                                   &result.neighbors, &result.unsearched_points, &graphs_);
               }) {}

std::string PluginWalkSearch::Unable(const CollectionView& view, const SearchParams& params) const {
  const std::string& label = device_->options().label;
  if (params.exact) return StrCat("an exact search compares all rows, and the ", label, " none");
  SearchParams all = params;
  all.k += params.offset;
  std::vector<uint64_t> bytes;
  std::string refusal = StrCat("no segment is so large that a walk of the ", label, " pays");
  for (const ViewGraph& graph : ViewGraph::AllOf(view)) {
    const int64_t ef = WalkEf(view, graph.part(), all);
    if (ef == 0) continue;
    if (ef > BATON_WALK_EF_MAX) {
      refusal = StrCat("a walk would keep ", ef, " candidates, the ", label, "'s limit is ",
                       BATON_WALK_EF_MAX);
      continue;
    }
    uint64_t its = 0;
    if (std::string why = graphs_.Refusal(graph, &its); !why.empty()) {
      refusal = std::move(why);
      continue;
    }
    bytes.push_back(its);
  }
  return bytes.empty() ? refusal : graphs_.RoomRefusal(bytes);
}

}  // namespace baton
