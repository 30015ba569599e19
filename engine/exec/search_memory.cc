#include "engine/exec/search_memory.h"

#include <iterator>
#include <utility>

namespace baton {

bool SearchMemory::MakeRoom(int64_t bytes) {
  while (bytes_ + bytes > bytes_max_) {
    if (!EvictOldest()) return false;
  }
  return true;
}

bool SearchMemory::EvictOldest() {
  if (items_.empty() || items_.front().turn == turn_) return false;
  const std::function<void()> evict = std::move(items_.front().evict);  // which ends the item
  evict();
  return true;
}

SearchMemory::Place SearchMemory::Take(int64_t bytes, std::function<void()> evict) {
  bytes_ += bytes;
  items_.push_back({.bytes = bytes, .turn = turn_, .evict = std::move(evict)});
  return {this, std::prev(items_.end())};
}

void SearchMemory::Use(Items::iterator item) {
  item->turn = turn_;
  items_.splice(items_.end(), items_, item);
}

void SearchMemory::Remove(Items::iterator item) {
  bytes_ -= item->bytes;
  items_.erase(item);
}

}  // namespace baton
