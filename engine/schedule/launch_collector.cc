#include "engine/schedule/launch_collector.h"

#include <algorithm>
#include <cstddef>

namespace baton {

void LaunchCollector::Add(const LaunchKey& key, const LaunchPiece& piece, TimeUs now_us) {
  groups_[key].push_back({piece, now_us});
}

int64_t LaunchCollector::InFlight(const LaunchKey& key) const {
  const auto it = in_flight_.find({key.executor, key.work_class});
  return it == in_flight_.end() ? 0 : it->second;
}

LaunchOutlook LaunchCollector::OutlookOf(const LaunchKey& key, const Group& group) const {
  const ClassBatchingOptions& options = *options_.Of(key.work_class);
  if (options.strategy != "adaptive" || outlook_ == nullptr) return {};
  int64_t items = 0;
  for (const Waiting& waiting : group) items += waiting.piece.items;
  return outlook_(key, group.front().piece.shape, std::min(items, options.items_max));
}

TimeUs LaunchCollector::DueUs(const LaunchKey& key, const Group& group,
                              const LaunchOutlook& outlook, int taken) const {
  const ClassBatchingOptions& options = *options_.Of(key.work_class);
  TimeUs wait_us = 0;
  if (outlook.known) {
    const bool goes = !outlook.pays || outlook.room > taken;
    wait_us = goes ? 0 : std::max(options.coalesce_us, outlook.patience_us);
  } else if (options.strategy == "time_or_size" ||
             (options.strategy == "adaptive" && InFlight(key) > 0)) {
    wait_us = options.coalesce_us;
  } else if (options.strategy == "high_throughput") {
    wait_us = options.wait_us_max;
  }
  TimeUs due_us = group.front().came_us + wait_us;
  for (const Waiting& waiting : group) due_us = std::min(due_us, waiting.piece.latest_us);
  return due_us;
}

std::pair<TimeUs, TimeUs> LaunchCollector::UrgencyOf(const Group& group) {
  TimeUs last_us = kNoDeadline;
  for (const auto& [piece, came_us] : group) {
    if (piece.wanted_us != kNoDeadline) last_us = std::min(last_us, piece.wanted_us - piece.run_us);
  }
  return {last_us, group.front().came_us};
}

TimeUs LaunchCollector::AheadUs(int executor, WorkClass work_class) const {
  TimeUs ahead_us = 0;
  for (const auto& [key, group] : groups_) {
    if (key.executor != executor || key.work_class == work_class) continue;
    ahead_us += group.front().piece.run_us;  // where company pays, one launch takes hardly more
  }
  return ahead_us;
}

std::vector<LaunchCollector::Launch> LaunchCollector::Take(TimeUs now_us) {
  std::vector<Launch> launches;
  std::map<int, int> taken_for;  // by executor
  std::vector<std::map<LaunchKey, Group>::iterator> by_urgency;
  for (auto it = groups_.begin(); it != groups_.end(); ++it) by_urgency.push_back(it);
  if (by_urgency.size() > 1) {
    std::sort(by_urgency.begin(), by_urgency.end(), [](const auto& a, const auto& b) {
      const auto urgency_a = UrgencyOf(a->second);
      const auto urgency_b = UrgencyOf(b->second);
      return urgency_a != urgency_b ? urgency_a < urgency_b : a->first < b->first;
    });
  }
  for (const auto it : by_urgency) {
    const LaunchKey& key = it->first;
    Group& group = it->second;
    const LaunchOutlook outlook = OutlookOf(key, group);
    const bool together = !outlook.known || outlook.pays;
    const int64_t items_max = together ? options_.Of(key.work_class)->items_max : 1;
    // Of all that wait: what is left over is few.
    const bool due = DueUs(key, group, outlook, taken_for[key.executor]) <= now_us;
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
      ++taken_for[key.executor];
      taken = end;
    }
    group.erase(group.begin(), group.begin() + static_cast<std::ptrdiff_t>(taken));
    if (group.empty()) groups_.erase(it);
  }
  return launches;
}

TimeUs LaunchCollector::NextDueUs() const {
  TimeUs due_us = kNoDeadline;
  for (const auto& [key, group] : groups_) {
    due_us = std::min(due_us, DueUs(key, group, OutlookOf(key, group), 0));
  }
  return due_us;
}

}  // namespace baton
