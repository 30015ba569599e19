#include "engine/schedule/block_ledger.h"

#include <algorithm>
#include <utility>

#include "engine/base/check.h"

namespace baton {

int32_t BlockLedger::CountNew(std::span<const BlockId> shared) const {
  return static_cast<int32_t>(std::count_if(shared.begin(), shared.end(), [this](BlockId block) {
    return holders_.find(block) == holders_.end();
  }));
}

BlockLedger::Holding BlockLedger::Hold(std::vector<BlockId> shared) {
  BATON_CHECK(CountNew(shared) <= free());
  for (const BlockId block : shared) ++holders_[block];
  return {.shared = std::move(shared), .own = 0};
}

void BlockLedger::Grow(Holding& holding, int32_t blocks) {
  BATON_CHECK(blocks >= 0 && blocks <= free());
  own_ += blocks;
  holding.own += blocks;
}

void BlockLedger::Free(Holding& holding) {
  own_ -= holding.own;
  for (const BlockId block : holding.shared) {
    const auto it = holders_.find(block);
    if (--it->second == 0) holders_.erase(it);
  }
  holding = {};
}

}  // namespace baton
