#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "engine/base/ids.h"

namespace baton {

// Names a text up to a block's end: the tenant and all tokens before and in the block. Each key is
// made of the one before it and its own block's tokens, so a text of n tokens costs n.
struct KvChainKey {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const KvChainKey&, const KvChainKey&) = default;
};

// Makes keys: two chains of multiply, xor and shift, begun with random seeds, so that no client can
// look for two texts with one key. Thread safe.
class KvChainHash {
 public:
  KvChainHash();  // seeds from the system

  KvChainKey Root(std::string_view tenant) const;
  KvChainKey Next(KvChainKey parent, std::span<const TokenId> tokens) const;

 private:
  uint64_t seed_high_;
  uint64_t seed_low_;
};

}  // namespace baton

template <>
struct std::hash<baton::KvChainKey> {
  size_t operator()(const baton::KvChainKey& key) const { return key.low; }
};
