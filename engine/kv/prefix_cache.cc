#include "engine/kv/prefix_cache.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "engine/base/check.h"

namespace baton {
namespace {

// Multiply, xor, shift, a word at a time; what has equal keys is compared in full.
uint64_t Mix(uint64_t hash, uint64_t word) {
  hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
  return hash ^ hash >> 31;
}

uint64_t Key(std::string_view tenant, uint64_t parent, std::span<const TokenId> tokens) {
  uint64_t key = Mix(std::hash<std::string_view>{}(tenant), parent);
  for (const TokenId token : tokens) key = Mix(key, static_cast<uint32_t>(token));
  return key;
}

}  // namespace

PrefixCache::~PrefixCache() {
  for (const auto& [id, node] : nodes_) pool_.Free(node.block);
}

std::optional<uint64_t> PrefixCache::Find(std::string_view tenant, uint64_t parent,
                                          std::span<const TokenId> tokens) const {
  const auto [begin, end] = by_key_.equal_range(Key(tenant, parent, tokens));
  for (auto it = begin; it != end; ++it) {
    const Node& node = nodes_.at(it->second);
    if (node.parent == parent && node.tenant == tenant &&
        std::equal(tokens.begin(), tokens.end(), node.tokens.begin(), node.tokens.end())) {
      return it->second;
    }
  }
  return std::nullopt;
}

void PrefixCache::Use(uint64_t id) {
  Node& node = nodes_.at(id);
  if (node.users++ == 0) unused_.erase(node.unused);
}

std::vector<KvBlockRef> PrefixCache::Match(std::string_view tenant,
                                           std::span<const TokenId> tokens) const {
  const auto step = static_cast<size_t>(pool_.layout().block_tokens);
  std::vector<KvBlockRef> blocks;
  uint64_t last = 0;
  while ((blocks.size() + 1) * step <= tokens.size()) {
    const auto known = Find(tenant, last, tokens.subspan(blocks.size() * step, step));
    if (!known) break;
    last = *known;
    blocks.push_back(nodes_.at(*known).block);
  }
  return blocks;
}

PrefixCache::Chain PrefixCache::Acquire(std::string_view tenant, std::span<const TokenId> tokens,
                                        std::vector<KvBlockRef>& blocks) {
  const auto step = static_cast<size_t>(pool_.layout().block_tokens);
  Chain chain;
  chain.tenant_ = tenant;
  chain.key_ = hash_.Root(tenant);
  for (; (chain.size_ + 1) * step <= tokens.size(); ++chain.size_) {
    const auto known = Find(tenant, chain.last_, tokens.subspan(chain.size_ * step, step));
    if (!known) break;
    Use(*known);
    chain.nodes_.push_back(*known);
    chain.last_ = *known;
    chain.key_ = nodes_.at(*known).chain;
    blocks.push_back(nodes_.at(*known).block);
    pool_.Share(blocks.back());
  }
  return chain;
}

void PrefixCache::Extend(Chain& chain, std::span<const TokenId> tokens, KvBlockRef block) {
  BATON_CHECK(std::ssize(tokens) == pool_.layout().block_tokens);
  ++chain.size_;
  chain.key_ = hash_.Next(chain.key_, tokens);
  if (const auto known = Find(chain.tenant_, chain.last_, tokens)) {
    // Not kept from eviction: the sequence has its own block, and pays for one only.
    chain.last_ = *known;
    return;
  }
  const uint64_t id = next_node_++;
  Node node{.key = Key(chain.tenant_, chain.last_, tokens),
            .chain = chain.key_,
            .parent = chain.last_,
            .tenant = chain.tenant_,
            .tokens = {tokens.begin(), tokens.end()},
            .block = block,
            .users = 1,
            .unused = {}};
  pool_.Share(block);
  by_key_.emplace(node.key, id);
  nodes_.emplace(id, std::move(node));
  chain.nodes_.push_back(id);
  chain.last_ = id;
}

void PrefixCache::Release(const Chain& chain) {
  // Children first: a parent is wanted whenever they are.
  for (size_t i = chain.nodes_.size(); i-- > 0;) {
    Node& node = nodes_.at(chain.nodes_[i]);
    if (--node.users == 0) node.unused = unused_.insert(unused_.end(), chain.nodes_[i]);
  }
}

std::vector<KvChainKey> PrefixCache::KeysBehind(const Chain& chain,
                                                std::span<const TokenId> tokens) const {
  const auto step = static_cast<size_t>(pool_.layout().block_tokens);
  std::vector<KvChainKey> keys;
  KvChainKey last = chain.key_;
  for (size_t block = chain.size_; (block + 1) * step <= tokens.size(); ++block) {
    last = hash_.Next(last, tokens.subspan(block * step, step));
    keys.push_back(last);
  }
  return keys;
}

std::vector<KvChainKey> PrefixCache::KeysOf(const Chain& chain) const {
  std::vector<KvChainKey> keys;
  for (const uint64_t id : chain.nodes_) keys.push_back(nodes_.at(id).chain);
  return keys;
}

bool PrefixCache::Evict() {
  if (unused_.empty()) return false;
  const auto it = nodes_.find(unused_.front());
  unused_.pop_front();
  const auto [begin, end] = by_key_.equal_range(it->second.key);
  by_key_.erase(std::find_if(begin, end, [&](const auto& e) { return e.second == it->first; }));
  const Node& node = it->second;
  if (tell_evicted_) {
    tell_evicted_(
        {.tenant = node.tenant, .key = node.chain, .tokens = node.tokens, .block = node.block});
  }
  pool_.Free(node.block);
  nodes_.erase(it);
  return true;
}

}  // namespace baton
