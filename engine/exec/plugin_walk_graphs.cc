#include "engine/exec/plugin_walk_graphs.h"

#include <algorithm>
#include <utility>

#include "engine/base/log.h"
#include "engine/base/status_macros.h"
#include "engine/base/strings.h"
#include "engine/exec/plugin_vectors.h"

namespace baton {
namespace {

// Rows that died since bits were made may still be met, for as many more are asked for; beyond,
// bits are made anew.
int64_t DiedRowsMax(int64_t live) { return 16 + live / 64; }

// Of a graph, but for its rows; valid while the segment is.
baton_walk_graph_job JobOf(const ViewGraph& graph) {
  const CollectionSpec& spec = graph.view().spec();
  const SealedGraph::Arrays arrays = graph.arrays();
  return {.struct_size = sizeof(baton_walk_graph_job),
          .metric = AbiMetricOf(spec.metric),
          .dimension = spec.dimension,
          .nodes = graph.nodes(),
          .degree = arrays.degree,
          .upper_degree = arrays.upper_degree,
          .level_count = static_cast<uint32_t>(arrays.level_nodes.size()),
          .reserved = 0,
          .level_nodes = arrays.level_nodes.data(),
          .links = arrays.links.data(),
          .upper_links = arrays.upper_links.data(),
          .source = {.context = nullptr, .read = nullptr},
          .stop_context = nullptr,
          .stop = nullptr};
}

// What a plug-in asks about while a graph is brought.
struct Loading {
  const ViewGraph& graph;
  SearchPoll poll;
  absl::Status polled;

  static void Read(void* context, int64_t first, int64_t count, float* vectors) {
    static_cast<Loading*>(context)->graph.ReadVectors(static_cast<uint32_t>(first), count, vectors);
  }
  static int32_t Stop(void* context) {
    Loading& self = *static_cast<Loading*>(context);
    self.polled = self.poll();
    return self.polled.ok() ? 0 : 1;
  }
};

}  // namespace

std::string PluginWalkGraphs::Refusal(const ViewGraph& graph, uint64_t* bytes) const {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(graph.owner().get());
    if (found != entries_.end() && !found->second.refusal.empty() &&
        !found->second.owner.expired()) {
      return found->second.refusal;
    }
  }
  const baton_walk_graph_job job = JobOf(graph);
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  const absl::Status taken = PluginDevice::StatusOf(
      device_->table().walk_graph_bytes(device_->handle(), &job, bytes, &error), error);
  return std::string(taken.message());
}

std::string PluginWalkGraphs::RoomRefusal(std::span<const uint64_t> bytes) const {
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  return std::string(
      PluginDevice::StatusOf(device_->table().walk_graphs_fit(device_->handle(), bytes.data(),
                                                              std::ssize(bytes), &error),
                             error)
          .message());
}

bool PluginWalkGraphs::Takes(const ViewGraph& graph, int64_t ef) const {
  uint64_t bytes = 0;
  return ef <= BATON_WALK_EF_MAX && Refusal(graph, &bytes).empty() &&
         RoomRefusal({&bytes, 1}).empty();
}

std::shared_ptr<PluginWalkGraphs::Graph> PluginWalkGraphs::Find(const ViewGraph& graph,
                                                                uint64_t now) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(graph.owner().get());
  if (found == entries_.end()) return nullptr;
  found->second.used = std::max(found->second.used, now);
  return found->second.graph;
}

absl::StatusOr<std::vector<std::shared_ptr<PluginWalkGraphs::Graph>>> PluginWalkGraphs::Bring(
    std::span<const GraphWalk> walks, SearchPoll poll) {
  DropDead();
  uint64_t now = 0;
  {
    const std::lock_guard lock(mutex_);
    now = ++now_;
  }
  std::vector<std::shared_ptr<Graph>> graphs;
  for (const GraphWalk& walk : walks) graphs.push_back(Find(walk.graph, now));
  for (size_t i = 0; i < walks.size(); ++i) {
    if (graphs[i] != nullptr) continue;
    const std::lock_guard loading(loading_);
    graphs[i] = Find(walks[i].graph, now);
    if (graphs[i] != nullptr) continue;
    RETURN_IF_ERROR(Load(walks[i].graph, now, poll));
    graphs[i] = Find(walks[i].graph, now);  // or null: refused
  }
  return graphs;
}

absl::Status PluginWalkGraphs::Load(const ViewGraph& graph, uint64_t now, SearchPoll poll) {
  Loading loading{.graph = graph, .poll = poll, .polled = absl::OkStatus()};
  baton_walk_graph_job job = JobOf(graph);
  job.source = {.context = &loading, .read = Loading::Read};
  job.stop_context = &loading;
  job.stop = Loading::Stop;
  Entry entry{
      .owner = graph.owner(), .graph = nullptr, .refusal = "", .used = now, .live = nullptr};
  for (;;) {
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    baton_walk_graph* made = nullptr;
    const absl::Status created = PluginDevice::StatusOf(
        device_->table().walk_graph_create(device_->handle(), &job, &made, &error), error);
    if (created.ok()) {
      entry.graph = std::make_shared<Graph>(made, FreeGraph{device_});
      ++loads_;
      break;
    }
    if (!loading.polled.ok()) return loading.polled;
    if (absl::IsUnimplemented(created)) {
      entry.refusal = std::string(created.message());
      Log().warn("collection \"{}\": segment {} is not walked on the {}: {}",
                 graph.view().spec().name, graph.segment(), device_->options().label,
                 entry.refusal);
      break;
    }
    if (!absl::IsResourceExhausted(created)) return created;
    // Another executor may have the room that lacks here.
    if (!Evict(now)) return absl::UnavailableError(std::string(created.message()));
  }
  const std::lock_guard lock(mutex_);
  entries_.insert_or_assign(graph.owner().get(), std::move(entry));
  return absl::OkStatus();
}

bool PluginWalkGraphs::Evict(uint64_t now) {
  const std::lock_guard lock(mutex_);
  auto oldest = entries_.end();
  for (auto it = entries_.begin(); it != entries_.end(); ++it) {
    const Entry& entry = it->second;
    if (entry.graph == nullptr || entry.used >= now || entry.graph.use_count() > 1) continue;
    if (oldest == entries_.end() || entry.used < oldest->second.used) oldest = it;
  }
  if (oldest == entries_.end()) return false;
  ++evictions_;
  entries_.erase(oldest);
  return true;
}

void PluginWalkGraphs::DropDead() {
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const auto& entry) { return entry.second.owner.expired(); });
}

void PluginWalkGraphs::Forget(std::span<const GraphWalk> walks) {
  const std::lock_guard lock(mutex_);
  for (const GraphWalk& walk : walks) entries_.erase(walk.graph.owner().get());
}

// Rows die and do not come back: those that live in a later view live in an earlier one, too, so
// how many there are says which.
std::shared_ptr<const PluginWalkGraphs::LiveNodes> PluginWalkGraphs::LiveOf(
    const ViewGraph& graph) {
  if (graph.live() == graph.rows()) return nullptr;
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(graph.owner().get());
    if (found != entries_.end() && found->second.live != nullptr) {
      const int64_t died = found->second.live->rows - graph.live();
      if (died >= 0 && died <= DiedRowsMax(graph.live())) return found->second.live;
    }
  }
  auto live = std::make_shared<LiveNodes>();
  live->rows = graph.live();
  live->words = graph.FindLiveNodes();
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(graph.owner().get());
  if (found != entries_.end()) found->second.live = live;
  return live;
}

absl::Status PluginWalkGraphs::WalkOn(std::span<const GraphWalk> walks,
                                      std::span<const std::vector<float>> queries, SearchPoll poll,
                                      std::vector<GraphWalked>* walked) {
  ASSIGN_OR_RETURN(const std::vector<std::shared_ptr<Graph>> graphs, Bring(walks, poll));
  std::vector<float> values;
  for (const std::vector<float>& query : queries) {
    values.insert(values.end(), query.begin(), query.end());
  }
  walked->assign(walks.size(), {});
  std::vector<std::shared_ptr<const LiveNodes>> live(walks.size());
  std::vector<baton_walk_part> parts;
  for (size_t i = 0; i < walks.size(); ++i) {
    const GraphWalk& walk = walks[i];
    GraphWalked& its = (*walked)[i];
    its.walked.assign(queries.size(), 0);
    const uint32_t* words = walk.matching.empty() ? nullptr : walk.matching.data();
    its.stride = walk.wanted;
    if (words == nullptr) {
      live[i] = LiveOf(walk.graph);
      if (live[i] != nullptr) {
        words = live[i]->words.data();
        its.stride = std::min(walk.ef, walk.wanted + live[i]->rows - walk.graph.live());
      }
    }
    its.nodes.resize(queries.size() * static_cast<size_t>(its.stride));
    if (graphs[i] == nullptr) continue;  // refused since it was taken
    parts.push_back({.graph = graphs[i]->get(),
                     .live = words,
                     .ef = static_cast<int32_t>(walk.ef),
                     .wanted = static_cast<int32_t>(its.stride),
                     .nodes = its.nodes.data(),
                     .walked = its.walked.data()});
  }
  if (parts.empty()) return absl::OkStatus();
  RETURN_IF_ERROR(poll());
  const baton_walk walk = {.struct_size = sizeof(walk),
                           .part_struct_size = sizeof(baton_walk_part),
                           .parts = parts.data(),
                           .part_count = std::ssize(parts),
                           .queries = values.data(),
                           .query_count = std::ssize(queries)};
  baton_error error = {.struct_size = sizeof(error), .message = {}};
  RETURN_IF_ERROR(
      PluginDevice::StatusOf(device_->table().walk(device_->handle(), &walk, &error), error));
  for (const GraphWalked& its : *walked) {
    walks_ += std::count(its.walked.begin(), its.walked.end(), uint8_t{1});
  }
  return absl::OkStatus();
}

absl::Status PluginWalkGraphs::Walk(std::span<const GraphWalk> walks,
                                    std::span<const std::vector<float>> queries, SearchPoll poll,
                                    std::vector<GraphWalked>* walked) {
  const absl::Status done = WalkOn(walks, queries, poll, walked);
  if (!absl::IsNotFound(done)) return done;
  Forget(walks);  // the device was reset since
  const absl::Status again = WalkOn(walks, queries, poll, walked);
  return absl::IsNotFound(again) ? absl::UnavailableError(std::string(again.message())) : again;
}

}  // namespace baton
