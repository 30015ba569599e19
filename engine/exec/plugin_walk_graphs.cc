#include "engine/exec/plugin_walk_graphs.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <iterator>
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
  const std::atomic<bool>& stop;

  static void Read(void* context, int64_t first, int64_t count, float* vectors) {
    static_cast<Loading*>(context)->graph.ReadVectors(static_cast<uint32_t>(first), count, vectors);
  }
  static int32_t Stop(void* context) { return static_cast<Loading*>(context)->stop ? 1 : 0; }
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

// The graphs of a search's walks: those that are there at once, the others as they come. They stay
// as long as this does. `walks` outlive it.
class PluginWalkGraphs::Bringing final : public LoadingThread::Request {
 public:
  Bringing(PluginWalkGraphs& graphs, std::span<const GraphWalk> walks)
      : graphs_(graphs), walks_(walks), brought_(walks.size()) {
    graphs_.DropDead();
    {
      const std::lock_guard lock(graphs_.mutex_);
      now_ = ++graphs_.now_;
    }
    for (size_t i = 0; i < walks.size(); ++i) {
      brought_[i] = graphs_.Find(walks[i].graph, now_);
      (brought_[i] != nullptr ? came_ : missing_).push_back(i);
    }
    all_came_ = missing_.empty();
    if (!all_came_) graphs_.loading_.Post(*this);
  }
  ~Bringing() override {
    stop_ = true;
    graphs_.loading_.Withdraw(*this);
  }

  // Which walks' graphs came since the last call; blocks until there is one. None: all were told.
  absl::StatusOr<std::vector<size_t>> Next(SearchPoll poll) {
    constexpr std::chrono::milliseconds kPollEvery{2};
    for (;;) {
      RETURN_IF_ERROR(poll());
      std::unique_lock lock(mutex_);
      const auto told = [this] { return !came_.empty() || all_came_ || !status_.ok(); };
      if (!changed_.wait_for(lock, kPollEvery, told)) continue;
      RETURN_IF_ERROR(status_);
      return std::exchange(came_, {});
    }
  }
  // Of a walk whose graph came. Null: refused.
  baton_walk_graph* graph(size_t walk) const {
    const std::lock_guard lock(mutex_);
    return brought_[walk] == nullptr ? nullptr : brought_[walk]->get();
  }

  bool LoadNext() override {
    const size_t walk = missing_[next_++];
    const ViewGraph& graph = walks_[walk].graph;
    absl::StatusOr<std::shared_ptr<Graph>> loaded = graphs_.Find(graph, now_);
    if (*loaded == nullptr) loaded = graphs_.Load(graph, now_, stop_);
    const bool more = loaded.ok() && next_ < missing_.size();
    {
      const std::lock_guard lock(mutex_);
      status_ = loaded.status();
      if (loaded.ok()) {
        brought_[walk] = *std::move(loaded);
        came_.push_back(walk);
      }
      all_came_ = !more;
    }
    changed_.notify_all();
    return more;
  }

 private:
  PluginWalkGraphs& graphs_;
  const std::span<const GraphWalk> walks_;
  uint64_t now_ = 0;
  std::vector<size_t> missing_;
  size_t next_ = 0;  // the loading thread's
  std::atomic<bool> stop_ = false;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Graph>> brought_;  // mutex_: [walks]
  std::vector<size_t> came_;                     // mutex_
  bool all_came_ = false;                        // mutex_
  absl::Status status_;                          // mutex_
};

absl::StatusOr<std::shared_ptr<PluginWalkGraphs::Graph>> PluginWalkGraphs::Load(
    const ViewGraph& graph, uint64_t now, const std::atomic<bool>& stop) {
  Loading loading{.graph = graph, .stop = stop};
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
      break;
    }
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
  std::shared_ptr<Graph> loaded = entry.graph;
  const std::lock_guard lock(mutex_);
  if (loaded != nullptr) {
    ++residency_.loaded;
    ++residency_.graphs;
  }
  // The key may be that of a segment that is gone since.
  if (const auto found = entries_.find(graph.owner().get()); found != entries_.end()) {
    Remove(found, &residency_.dropped);
  }
  entries_.emplace(graph.owner().get(), std::move(entry));
  return loaded;
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
  Remove(oldest, &residency_.evicted);
  return true;
}

void PluginWalkGraphs::DropDead() {
  const std::lock_guard lock(mutex_);
  for (auto it = entries_.begin(); it != entries_.end();) {
    const auto next = std::next(it);
    if (it->second.owner.expired()) Remove(it, &residency_.dropped);
    it = next;
  }
}

void PluginWalkGraphs::Forget(std::span<const GraphWalk> walks) {
  const std::lock_guard lock(mutex_);
  for (const GraphWalk& walk : walks) {
    const auto found = entries_.find(walk.graph.owner().get());
    if (found != entries_.end()) Remove(found, &residency_.lost);
  }
}

void PluginWalkGraphs::Remove(Entries::iterator entry, int64_t* gone) {
  if (entry->second.graph != nullptr) {
    --residency_.graphs;
    ++*gone;
  }
  entries_.erase(entry);
}

GraphResidency PluginWalkGraphs::Residency() const {
  const std::lock_guard lock(mutex_);
  return residency_;
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
  std::vector<float> values;
  for (const std::vector<float>& query : queries) {
    values.insert(values.end(), query.begin(), query.end());
  }
  walked->assign(walks.size(), {});
  Bringing bringing(*this, walks);
  for (;;) {
    ASSIGN_OR_RETURN(const std::vector<size_t> came, bringing.Next(poll));
    if (came.empty()) return absl::OkStatus();
    std::vector<std::shared_ptr<const LiveNodes>> live;
    std::vector<baton_walk_part> parts;
    for (const size_t i : came) {
      const GraphWalk& walk = walks[i];
      GraphWalked& its = (*walked)[i];
      its.walked.assign(queries.size(), 0);
      const uint32_t* words = walk.matching.empty() ? nullptr : walk.matching.data();
      its.stride = walk.wanted;
      if (words == nullptr) {
        live.push_back(LiveOf(walk.graph));
        if (live.back() != nullptr) {
          words = live.back()->words.data();
          its.stride = std::min(walk.ef, walk.wanted + live.back()->rows - walk.graph.live());
        }
      }
      its.nodes.resize(queries.size() * static_cast<size_t>(its.stride));
      if (bringing.graph(i) == nullptr) continue;  // refused since it was taken
      parts.push_back({.graph = bringing.graph(i),
                       .live = words,
                       .ef = static_cast<int32_t>(walk.ef),
                       .wanted = static_cast<int32_t>(its.stride),
                       .nodes = its.nodes.data(),
                       .walked = its.walked.data()});
    }
    if (parts.empty()) continue;
    const baton_walk walk = {.struct_size = sizeof(walk),
                             .part_struct_size = sizeof(baton_walk_part),
                             .parts = parts.data(),
                             .part_count = std::ssize(parts),
                             .queries = values.data(),
                             .query_count = std::ssize(queries)};
    baton_error error = {.struct_size = sizeof(error), .message = {}};
    RETURN_IF_ERROR(
        PluginDevice::StatusOf(device_->table().walk(device_->handle(), &walk, &error), error));
    const std::lock_guard lock(mutex_);
    for (const size_t i : came) {
      const std::vector<uint8_t>& its = (*walked)[i].walked;
      residency_.walks += std::count(its.begin(), its.end(), uint8_t{1});
    }
  }
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
