#include "engine/vector/filter_nodes.h"

#include <algorithm>
#include <utility>

namespace baton {

NodeSet::NodeSet(std::span<const uint32_t> nodes, int64_t count)
    : bits(static_cast<size_t>(count + 31) / 32) {
  for (const uint32_t node : nodes) bits[node / 32] |= uint32_t{1} << node % 32;
  if (std::ssize(nodes) * kListedShare > count) return;
  listed.assign(nodes.begin(), nodes.end());
  std::sort(listed.begin(), listed.end());
  listed.erase(std::unique(listed.begin(), listed.end()), listed.end());
}

FilterNodes::Entry* FilterNodes::Find(std::string_view key) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [key](const Entry& entry) { return entry.key == key; });
  return found == entries_.end() ? nullptr : &*found;
}

FilterNodes::Entry* FilterNodes::LeastKept() {
  size_t kept = 0;
  Entry* least = nullptr;
  for (Entry& entry : entries_) {
    if (entry.nodes == nullptr && !entry.making) continue;
    ++kept;
    if (least == nullptr || entry.asks < least->asks) least = &entry;
  }
  return kept < kKept ? nullptr : least;
}

FilterNodes::Asked FilterNodes::Ask(std::string_view key) {
  const std::lock_guard lock(mutex_);
  if (++asks_ % kAsksOfAge == 0) {
    for (Entry& entry : entries_) entry.asks /= 2;
  }
  Entry* entry = Find(key);
  if (entry == nullptr) {
    if (entries_.size() == kCounted) {
      const auto rank = [](const Entry& e) {
        return std::pair(e.nodes != nullptr || e.making, e.asks);
      };
      entries_.erase(
          std::min_element(entries_.begin(), entries_.end(),
                           [&rank](const Entry& a, const Entry& b) { return rank(a) < rank(b); }));
    }
    entry = &entries_.emplace_back(Entry{.key = std::string(key)});
  }
  ++entry->asks;
  if (entry->nodes != nullptr) return {.nodes = entry->nodes};
  // Of what is asked once, the next ask may never come.
  if (entry->making || entry->asks < 2) return {};
  Entry* const least = LeastKept();
  if (least != nullptr) {
    // Those that are asked about as often would take turns.
    if (least->making || 2 * least->asks > entry->asks) return {};
    least->nodes = nullptr;
  }
  entry->making = true;
  return {.make = true};
}

void FilterNodes::Put(std::string_view key, Nodes nodes) {
  const std::lock_guard lock(mutex_);
  Entry* const entry = Find(key);
  entry->making = false;
  entry->nodes = std::move(nodes);
}

}  // namespace baton
