#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/base/ids.h"

namespace baton {

// Counts the KV blocks that a model's sequences hold, so that a plan never asks for more than there
// are. Blocks that a sequence took from the prefix cache are known by name and count once, however
// many sequences hold them; its own are a number. A block that one sequence computed and another
// took counts for both: rather one too many than one too few. Not thread safe.
class BlockLedger {
 public:
  struct Holding {
    std::vector<BlockId> shared;  // distinct
    int32_t own = 0;
    int32_t count() const { return static_cast<int32_t>(shared.size()) + own; }
  };

  explicit BlockLedger(int32_t block_count) : block_count_(block_count) {}

  // How many of `shared` nobody holds by name yet.
  int32_t CountNew(std::span<const BlockId> shared) const;
  // A holding begins. CHECKs that its new blocks are free.
  Holding Hold(std::vector<BlockId> shared);
  // CHECKs that so many are free.
  void Grow(Holding& holding, int32_t blocks);
  // The holding is empty afterwards.
  void Free(Holding& holding);

  int32_t block_count() const { return block_count_; }
  int32_t used() const { return own_ + static_cast<int32_t>(holders_.size()); }
  int32_t free() const { return block_count_ - used(); }

 private:
  const int32_t block_count_;
  int32_t own_ = 0;                     // of all holdings
  std::map<BlockId, int32_t> holders_;  // of each shared block, at least 1
};

}  // namespace baton
