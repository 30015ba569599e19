#include "engine/kv/offload_tier.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "engine/kv/prefix_cache.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

const KvLayout kLayout{.layers = 1, .kv_heads = 1, .head_dim = 4, .block_tokens = 8};
const std::vector<TokenId> kTokens = {1, 2, 3, 4, 5, 6, 7, 8};

std::unique_ptr<KvOffloadTier> Tier(int32_t blocks) {
  return *KvOffloadTier::Create(kLayout, blocks * kLayout.block_bytes() + 7, -1);
}

KvOffloadTier::Name NameOf(uint64_t key, std::string_view tenant = "") {
  return {.tenant = tenant, .key = {.high = 1, .low = key}, .tokens = kTokens};
}

// Stores a block that holds `mark`.
void Store(KvOffloadTier& tier, const KvOffloadTier::Name& name, std::byte mark) {
  const auto slot = tier.Reserve(name);
  REQUIRE_OK(slot);
  std::fill_n(tier.Data(*slot), kLayout.block_bytes(), mark);
  tier.Commit(*slot);
}

TEST_CASE("what went out comes back, the longest run of it") {
  const auto tier = Tier(4);
  for (const uint64_t key : {1, 2, 4}) Store(*tier, NameOf(key), static_cast<std::byte>(key));
  const std::vector names = {NameOf(1), NameOf(2), NameOf(3), NameOf(4)};
  const auto run = tier->Acquire(names);
  REQUIRE(run.size() == 2);
  for (size_t i = 0; i < run.size(); ++i) {
    const std::byte* data = tier->Data(run[i]);
    CHECK(std::all_of(data, data + kLayout.block_bytes(),
                      [&](std::byte byte) { return byte == static_cast<std::byte>(i + 1); }));
  }
  CHECK(tier->GetStats().held == 2);
  for (const OffloadSlot slot : run) tier->Release(slot);
  const KvOffloadTier::Stats stats = tier->GetStats();
  CHECK(stats.slots == 4);
  CHECK(stats.used == 3);
  CHECK(stats.held == 0);
  CHECK(stats.stored == 3);
  CHECK(stats.reloaded == 2);
  CHECK(stats.missed == 1);
}

TEST_CASE("what is counted is what would be given, and holds nothing") {
  const auto tier = Tier(4);
  for (const uint64_t key : {1, 2, 4}) Store(*tier, NameOf(key), std::byte{7});
  const auto writing = tier->Reserve(NameOf(3));
  REQUIRE_OK(writing);
  const std::vector names = {NameOf(1), NameOf(2), NameOf(3), NameOf(4)};
  CHECK(tier->CountRun(names) == 2);
  CHECK(tier->CountRun(std::span(names).subspan(2)) == 0);
  tier->Commit(*writing);
  CHECK(tier->CountRun(names) == 4);
  CHECK(tier->CountRun({}) == 0);
  CHECK(tier->GetStats().held == 0);
  CHECK(tier->GetStats().reloaded == 0);
}

TEST_CASE("a block that was touched outlives those that were not") {
  const auto tier = Tier(2);
  Store(*tier, NameOf(1), std::byte{1});
  Store(*tier, NameOf(2), std::byte{2});
  CHECK(tier->Touch(NameOf(1).key));
  CHECK_FALSE(tier->Touch(NameOf(3).key));
  Store(*tier, NameOf(3), std::byte{3});
  CHECK(tier->CountRun(std::vector{NameOf(1)}) == 1);
  CHECK(tier->CountRun(std::vector{NameOf(2)}) == 0);
}

TEST_CASE("a block is found only by its own tenant and tokens, even under one key") {
  const auto tier = Tier(4);
  Store(*tier, NameOf(1, "a"), std::byte{1});
  CHECK(tier->Acquire(std::vector{NameOf(1, "b")}).empty());
  KvOffloadTier::Name other = NameOf(1, "a");
  const std::vector<TokenId> tokens = {1, 2, 3, 4, 5, 6, 7, 9};
  other.tokens = tokens;
  CHECK(tier->Acquire(std::vector{other}).empty());
  const auto run = tier->Acquire(std::vector{NameOf(1, "a")});
  REQUIRE(run.size() == 1);
  tier->Release(run[0]);
}

TEST_CASE("nobody finds what is being written or was given up") {
  const auto tier = Tier(2);
  const auto slot = tier->Reserve(NameOf(1));
  REQUIRE_OK(slot);
  CHECK(tier->Acquire(std::vector{NameOf(1)}).empty());
  REQUIRE_STATUS(tier->Reserve(NameOf(1)), absl::StatusCode::kAlreadyExists, "has this block");
  tier->Abandon(*slot);
  CHECK(tier->Acquire(std::vector{NameOf(1)}).empty());
  CHECK(tier->GetStats().used == 0);
  Store(*tier, NameOf(1), std::byte{1});
  REQUIRE_STATUS(tier->Reserve(NameOf(1)), absl::StatusCode::kAlreadyExists, "has this block");
}

TEST_CASE("the block unused for longest makes room, those that are held stay") {
  const auto tier = Tier(3);
  for (const uint64_t key : {1, 2, 3}) Store(*tier, NameOf(key), static_cast<std::byte>(key));
  const auto held = tier->Acquire(std::vector{NameOf(1)});
  const auto again = tier->Acquire(std::vector{NameOf(1)});  // by two
  REQUIRE(again == held);
  tier->Release(held[0]);
  Store(*tier, NameOf(4), std::byte{4});
  CHECK(tier->Acquire(std::vector{NameOf(2)}).empty());
  Store(*tier, NameOf(5), std::byte{5});
  CHECK(tier->Acquire(std::vector{NameOf(3)}).empty());
  CHECK(tier->Data(again[0])[0] == std::byte{1});
  CHECK(tier->GetStats().evicted == 2);
  // All are held: nothing can be stored.
  const auto rest = tier->Acquire(std::vector{NameOf(4), NameOf(5)});
  REQUIRE(rest.size() == 2);
  REQUIRE_STATUS(tier->Reserve(NameOf(6)), absl::StatusCode::kResourceExhausted, "3 slots");
  CHECK(tier->GetStats().refused == 1);
  tier->Clear();
  CHECK(tier->GetStats().used == 3);
  for (const OffloadSlot slot : rest) tier->Release(slot);
  tier->Release(again[0]);
  tier->Clear();
  CHECK(tier->GetStats().used == 0);
  CHECK(tier->Acquire(std::vector{NameOf(1)}).empty());
}

TEST_CASE("a tier that holds nothing, or is on no node, is refused") {
  REQUIRE_STATUS(KvOffloadTier::Create(kLayout, kLayout.block_bytes() - 1, -1),
                 absl::StatusCode::kInvalidArgument, "holds no KV block");
  REQUIRE_STATUS(KvOffloadTier::Create(kLayout, 1 << 20, 1000), absl::StatusCode::kInvalidArgument,
                 "NUMA node 1000");
  const auto near = KvOffloadTier::Create(kLayout, 1 << 20, MemoryNodes().front());
  REQUIRE_OK(near);
  Store(**near, NameOf(1), std::byte{1});
}

TEST_CASE("keys say the whole text, and cost only what is new of it") {
  const KvChainHash hash;
  const KvChainHash other;
  std::set<KvChainKey> keys;
  size_t count = 0;
  for (const char* tenant : {"", "a", "b", "aa"}) {
    const KvChainKey root = hash.Root(tenant);
    keys.insert(root);
    ++count;
    for (TokenId first = 0; first < 50; ++first) {
      std::vector<TokenId> tokens = kTokens;
      tokens[0] = first;
      const KvChainKey key = hash.Next(root, tokens);
      CHECK(key == hash.Next(hash.Root(tenant), tokens));
      keys.insert(key);
      keys.insert(hash.Next(key, kTokens));
      count += 2;
    }
  }
  CHECK(keys.size() == count);
  CHECK_FALSE(hash.Root("a") == other.Root("a"));  // nobody can know them
}

// Texts that come and go through a cache too small for them, with a tier below it: every block that
// a text gets, from whichever, holds what was computed for it.
TEST_CASE("blocks that the cache has evicted are reloaded, each with its own text's keys") {
  const uint32_t seed = GENERATE(range(1u, 9u));
  CAPTURE(seed);
  std::mt19937 random(seed);
  const auto tier = Tier(24);
  const auto pool = *KvBlockPool::Create(kLayout, 10);
  PrefixCache cache(*pool);
  cache.OnEvict([&](const PrefixCache::Evicted& evicted) {
    const auto slot =
        tier->Reserve({.tenant = evicted.tenant, .key = evicted.key, .tokens = evicted.tokens});
    if (!slot.ok()) return;
    if (random() % 10 == 0) return tier->Abandon(*slot);  // the copy failed
    std::copy_n(pool->Data(evicted.block), kLayout.block_bytes(), tier->Data(*slot));
    tier->Commit(*slot);
  });
  // What a block of a text must hold: a number for the tenant and the text up to its end.
  std::map<std::pair<std::string, std::vector<TokenId>>, uint32_t> computed;
  const auto allocate = [&] {
    while (pool->free_count() == 0) REQUIRE(cache.Evict());
    return *pool->Allocate();
  };
  int64_t reloaded = 0;
  for (int round = 0; round < 600; ++round) {
    // A tree of texts: 3 tenants, blocks of one of two kinds.
    const std::string tenant(random() % 3, 'x');
    std::vector<TokenId> text;
    for (auto blocks = 1 + random() % 5; blocks > 0; --blocks) {
      for (int i = 0; i < 8; ++i) text.push_back(static_cast<TokenId>(random() % 2));
      std::fill(text.end() - 7, text.end(), text[text.size() - 8]);
    }
    std::vector<KvBlockRef> blocks;
    PrefixCache::Chain chain = cache.Acquire(tenant, text, blocks);
    const std::vector<KvChainKey> keys = cache.KeysBehind(chain, text);
    REQUIRE(keys.size() == text.size() / 8 - chain.size());
    std::vector<KvOffloadTier::Name> names;
    for (size_t i = 0; i < keys.size(); ++i) {
      names.push_back({.tenant = tenant,
                       .key = keys[i],
                       .tokens = std::span(text).subspan((chain.size() + i) * 8, 8)});
    }
    const auto run = tier->Acquire(names);
    const auto tokens_of = [&](size_t block) { return std::span(text).subspan(block * 8, 8); };
    for (const OffloadSlot slot : run) {
      blocks.push_back(allocate());
      std::copy_n(tier->Data(slot), kLayout.block_bytes(), pool->Data(blocks.back()));
      cache.Extend(chain, tokens_of(blocks.size() - 1), blocks.back());
      tier->Release(slot);
      ++reloaded;
    }
    while (blocks.size() * 8 < text.size()) {  // computed
      blocks.push_back(allocate());
      const auto end = static_cast<std::ptrdiff_t>(blocks.size() * 8);
      const uint32_t number =  // the same text has the same keys, whenever they are computed
          computed
              .try_emplace({tenant, {text.begin(), text.begin() + end}},
                           static_cast<uint32_t>(random()))
              .first->second;
      std::memcpy(pool->Data(blocks.back()), &number, sizeof(number));
      cache.Extend(chain, tokens_of(blocks.size() - 1), blocks.back());
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      uint32_t number = 0;
      std::memcpy(&number, pool->Data(blocks[i]), sizeof(number));
      const auto end = static_cast<std::ptrdiff_t>((i + 1) * 8);
      REQUIRE(number == computed.at({tenant, {text.begin(), text.begin() + end}}));
    }
    cache.Release(chain);
    for (const KvBlockRef block : blocks) pool->Free(block);
    REQUIRE(tier->GetStats().held == 0);
  }
  CHECK(reloaded > 50);
  CHECK(tier->GetStats().evicted > 0);
}

}  // namespace
}  // namespace baton
