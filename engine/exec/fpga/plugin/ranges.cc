#include "engine/exec/fpga/plugin/ranges.h"

namespace baton::fpga {

uint64_t Ranges::Find(uint64_t bytes, uint64_t from) const {
  const uint64_t wanted = Pages(bytes);
  uint64_t at = Pages(from);
  for (const auto& [begin, taken] : taken_) {
    if (begin + taken <= at) continue;
    if (at + wanted <= begin) break;
    at = begin + taken;
  }
  return wanted > bytes_ || at > bytes_ - wanted ? kNone : at;
}

void Ranges::Take(uint64_t at, uint64_t bytes) {
  taken_[at] = Pages(bytes);
  used_ += Pages(bytes);
}

void Ranges::Give(uint64_t at) {
  const auto found = taken_.find(at);
  if (found == taken_.end()) return;
  used_ -= found->second;
  taken_.erase(found);
}

uint64_t TakeInAll(std::span<Ranges* const> arenas, uint64_t bytes) {
  uint64_t at = 0;
  for (bool moved = true; moved;) {
    moved = false;
    for (const Ranges* const arena : arenas) {
      const uint64_t found = arena->Find(bytes, at);
      if (found == Ranges::kNone) return Ranges::kNone;
      moved = moved || found != at;
      at = found;
    }
  }
  for (Ranges* const arena : arenas) arena->Take(at, bytes);
  return at;
}

}  // namespace baton::fpga
