#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "engine/base/ids.h"
#include "engine/kv/block_pool.h"
#include "engine/kv/chain_key.h"

namespace baton {

// Full KV blocks of texts that were computed before, found again by the tokens before and in them:
// who asks what begins alike need not compute it again. A tree: a block's parent holds the tokens
// before its own. Not thread safe; the engine's loop uses it.
//
// Blocks that nobody uses stay until their memory is wanted (Evict), the one unused for longest
// first and children before their parents. Tokens are compared, not only their hashes. Tenants do
// not see one another's blocks, so that none can learn another's prompts from answer times.
class PrefixCache {
 public:
  // How far one sequence's text is known, from its first block on.
  class Chain {
   public:
    // In blocks.
    size_t size() const { return size_; }
    // Of the text so far.
    KvChainKey key() const { return key_; }

   private:
    friend class PrefixCache;
    std::string tenant_;
    size_t size_ = 0;
    KvChainKey key_;
    uint64_t last_ = 0;            // node of the last block
    std::vector<uint64_t> nodes_;  // those that it keeps from eviction
  };

  // A block that Evict is about to give back, by what names it in a tier below.
  struct Evicted {
    std::string_view tenant;
    KvChainKey key;                   // of the text up to its end
    std::span<const TokenId> tokens;  // [block_tokens], its own
    KvBlockRef block;                 // who wants it longer shares it
  };

  // Caches with one hash name equal texts alike.
  explicit PrefixCache(KvBlockPool& pool, const KvChainHash& hash = KvChainHash())
      : pool_(pool), hash_(hash) {}
  ~PrefixCache();
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The blocks of the longest known beginning of `tokens`, whole blocks only: what Acquire would
  // take, unless Evict is called before.
  std::vector<KvBlockRef> Match(std::string_view tenant, std::span<const TokenId> tokens) const;
  // The longest known beginning of `tokens`, whole blocks only; the chain keeps it from eviction.
  // Appends its blocks to `blocks`, for the caller to own one share of each.
  Chain Acquire(std::string_view tenant, std::span<const TokenId> tokens,
                std::vector<KvBlockRef>& blocks);
  // Adds the chain's next block, which holds the K and V of `tokens` ([block_tokens]) and is never
  // written again. Where somebody was first with the same text, his block stays.
  void Extend(Chain& chain, std::span<const TokenId> tokens, KvBlockRef block);
  // The user is done with it.
  void Release(const Chain& chain);
  // Called for each block that is evicted, before it is given back.
  void OnEvict(absl::AnyInvocable<void(const Evicted&)> tell) { tell_evicted_ = std::move(tell); }
  // The keys of the whole blocks of `tokens`, the sequence's text, that lie behind the chain: what
  // a tier below may have. Hashes what lies behind only.
  std::vector<KvChainKey> KeysBehind(const Chain& chain, std::span<const TokenId> tokens) const;
  // Of the blocks that the chain keeps from eviction, from the first one on.
  std::vector<KvChainKey> KeysOf(const Chain& chain) const;
  // Gives a block back to the pool; false where all are in use.
  bool Evict();

  int32_t block_count() const { return static_cast<int32_t>(nodes_.size()); }
  // Blocks that Evict would give back.
  int32_t unused_count() const { return static_cast<int32_t>(unused_.size()); }

 private:
  struct Node {
    uint64_t key = 0;     // hash of tenant, parent and tokens
    KvChainKey chain;     // of the text up to its end
    uint64_t parent = 0;  // a node, perhaps gone; 0: the tenant's root
    std::string tenant;
    std::vector<TokenId> tokens;  // [block_tokens]
    KvBlockRef block;
    int32_t users = 0;
    std::list<uint64_t>::iterator unused;  // its place there, where users is 0
  };

  std::optional<uint64_t> Find(std::string_view tenant, uint64_t parent,
                               std::span<const TokenId> tokens) const;
  void Use(uint64_t id);

  KvBlockPool& pool_;
  const KvChainHash hash_;
  absl::AnyInvocable<void(const Evicted&)> tell_evicted_;
  std::unordered_map<uint64_t, Node> nodes_;
  std::unordered_multimap<uint64_t, uint64_t> by_key_;
  std::list<uint64_t> unused_;  // longest unused first
  uint64_t next_node_ = 1;
};

}  // namespace baton
