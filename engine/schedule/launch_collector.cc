#include "engine/schedule/launch_collector.h"

#include <algorithm>
#include <cstddef>
#include <iterator>

namespace baton {

void LaunchCollector::Add(const LaunchKey& key, const LaunchPiece& piece, TimeUs now_us) {
  groups_[key].push_back({piece, now_us});
}

int64_t LaunchCollector::InFlight(const LaunchKey& key) const {
  const auto it = in_flight_.find({key.executor, key.work_class});
  return it == in_flight_.end() ? 0 : it->second;
}

TimeUs LaunchCollector::DueUs(const LaunchKey& key, const Group& group) const {
  const ClassBatchingOptions& options = *options_.Of(key.work_class);
  TimeUs wait_us = 0;
  if (options.strategy == "time_or_size" || (options.strategy == "adaptive" && InFlight(key) > 0)) {
    wait_us = options.coalesce_us;
  } else if (options.strategy == "high_throughput") {
    wait_us = options.wait_us_max;
  }
  TimeUs due_us = group.front().came_us + wait_us;
  for (const Waiting& waiting : group) due_us = std::min(due_us, waiting.piece.latest_us);
  return due_us;
}

std::vector<LaunchCollector::Launch> LaunchCollector::Take(TimeUs now_us) {
  std::vector<Launch> launches;
  for (auto it = groups_.begin(); it != groups_.end();) {
    const LaunchKey& key = it->first;
    Group& group = it->second;
    const int64_t items_max = options_.Of(key.work_class)->items_max;
    const bool due = DueUs(key, group) <= now_us;  // of all that wait: what is left over is few
    size_t taken = 0;
    while (taken < group.size()) {
      Launch launch{.key = key, .wait_us = now_us - group[taken].came_us};
      size_t end = taken;
      while (end < group.size() &&
             (end == taken || launch.items + group[end].piece.items <= items_max)) {
        launch.ids.push_back(group[end].piece.id);
        launch.items += group[end++].piece.items;
      }
      const bool full = end < group.size() || launch.items >= items_max;
      if (!full && !due) break;
      launches.push_back(std::move(launch));
      taken = end;
    }
    group.erase(group.begin(), group.begin() + static_cast<std::ptrdiff_t>(taken));
    it = group.empty() ? groups_.erase(it) : std::next(it);
  }
  return launches;
}

TimeUs LaunchCollector::NextDueUs() const {
  TimeUs due_us = kNoDeadline;
  for (const auto& [key, group] : groups_) due_us = std::min(due_us, DueUs(key, group));
  return due_us;
}

}  // namespace baton
