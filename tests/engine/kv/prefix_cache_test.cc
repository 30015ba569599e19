#include "engine/kv/prefix_cache.h"

#include <catch2/catch.hpp>
#include <map>
#include <random>
#include <utility>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

// Blocks of 8 tokens: 2 MB hold no more of this shape.
const KvLayout kLayout{.layers = 1, .kv_heads = 1, .head_dim = 4, .block_tokens = 8};

std::vector<TokenId> Text(size_t tokens, TokenId first) {
  std::vector<TokenId> text(tokens);
  for (size_t i = 0; i < tokens; ++i) text[i] = first + static_cast<TokenId>(i);
  return text;
}

// A pool and a cache over it, and sequences that use both as the engine does.
struct Bench {
  explicit Bench(int32_t blocks) : pool(*KvBlockPool::Create(kLayout, blocks)), cache(*pool) {}

  struct User {
    PrefixCache::Chain chain;
    std::vector<KvBlockRef> blocks;
    size_t cached = 0;  // blocks
  };

  // Takes what is known of `text`, computes and remembers the rest of its full blocks.
  User Run(std::string_view tenant, const std::vector<TokenId>& text) {
    User user;
    const std::vector<KvBlockRef> match = cache.Match(tenant, text);
    user.chain = cache.Acquire(tenant, text, user.blocks);
    CHECK(user.blocks == match);
    user.cached = user.chain.size();
    while ((user.blocks.size() + 1) * 8 <= text.size()) {
      if (pool->free_count() == 0) REQUIRE(cache.Evict());
      user.blocks.push_back(*pool->Allocate());
      const size_t at = user.blocks.size() - 1;
      pool->Data(user.blocks.back())[0] = std::byte(text[at * 8]);
      cache.Extend(user.chain, std::span(text).subspan(at * 8, 8), user.blocks.back());
    }
    return user;
  }
  void End(User& user) {
    cache.Release(user.chain);
    for (const KvBlockRef block : user.blocks) pool->Free(block);
    user = {};
  }

  std::unique_ptr<KvBlockPool> pool;
  PrefixCache cache;
};

TEST_CASE("caches with one hash name equal texts alike, and no others") {
  const KvChainHash hash;
  const auto pool = *KvBlockPool::Create(kLayout, 16);
  PrefixCache one(*pool, hash);
  PrefixCache two(*pool, hash);
  PrefixCache other(*pool);
  const std::vector<TokenId> text = Text(24, 100);
  const auto keys = [&](PrefixCache& cache) {
    std::vector<KvBlockRef> none;
    PrefixCache::Chain chain = cache.Acquire("t", text, none);
    const std::vector<KvChainKey> behind = cache.KeysBehind(chain, text);
    for (size_t at = 0; at < 3; ++at) {
      const KvBlockRef block = *pool->Allocate();
      cache.Extend(chain, std::span(text).subspan(at * 8, 8), block);
      pool->Free(block);
    }
    CHECK(cache.KeysOf(chain) == behind);  // what was behind is what it keeps now
    cache.Release(chain);
    return behind;
  };
  const std::vector<KvChainKey> of_one = keys(one);
  CHECK(of_one.size() == 3);
  CHECK(keys(two) == of_one);
  CHECK(keys(other) != of_one);
}

TEST_CASE("a text's full blocks are found again, as far as it is the same") {
  Bench b(8);
  auto first = b.Run("", Text(27, 100));
  CHECK(first.cached == 0);
  CHECK(first.blocks.size() == 3);
  CHECK(b.cache.block_count() == 3);
  CHECK(b.cache.unused_count() == 0);

  SECTION("while it is in use") {
    auto again = b.Run("", Text(27, 100));
    CHECK(again.cached == 3);
    CHECK(again.blocks == first.blocks);
    b.End(again);
  }
  SECTION("after its end") {
    const std::vector<KvBlockRef> blocks = first.blocks;
    b.End(first);
    CHECK(b.cache.unused_count() == 3);
    CHECK(b.pool->free_count() == 5);
    auto again = b.Run("", Text(40, 100));
    CHECK(again.cached == 3);
    CHECK(again.blocks.size() == 5);
    CHECK(std::vector(again.blocks.begin(), again.blocks.begin() + 3) == blocks);
    CHECK(b.pool->Data(again.blocks[2])[0] == std::byte{116});
    b.End(again);
  }
  SECTION("up to the first other token") {
    std::vector<TokenId> other = Text(27, 100);
    other[8] = 7;
    auto user = b.Run("", other);
    CHECK(user.cached == 1);
    b.End(user);
  }
  SECTION("and not the same tokens behind others") {
    auto user = b.Run("", Text(16, 108));  // the first text's second and third block
    CHECK(user.cached == 0);
    b.End(user);
  }
  SECTION("and not by another tenant") {
    auto user = b.Run("someone else", Text(27, 100));
    CHECK(user.cached == 0);
    b.End(user);
  }
  if (!first.blocks.empty()) b.End(first);
}

TEST_CASE("a text that is computed twice at once is kept once, and pays for one copy each") {
  Bench b(4);
  Bench::User one, two;
  const std::vector<TokenId> text = Text(16, 50);
  for (Bench::User* const user : {&one, &two}) {
    user->chain = b.cache.Acquire("", text, user->blocks);
    REQUIRE(user->chain.size() == 0);
  }
  for (size_t at = 0; at < 2; ++at) {
    for (Bench::User* const user : {&one, &two}) {
      user->blocks.push_back(*b.pool->Allocate());
      b.cache.Extend(user->chain, std::span(text).subspan(at * 8, 8), user->blocks.back());
    }
  }
  CHECK(b.cache.block_count() == 2);
  b.End(one);
  CHECK(b.cache.unused_count() == 2);  // the second has its own blocks
  b.End(two);
  CHECK(b.pool->free_count() == 2);
}

TEST_CASE("memory that is wanted comes from what was unused for longest, children first") {
  Bench b(4);
  auto old = b.Run("", Text(16, 0));
  auto young = b.Run("", Text(16, 1000));
  b.End(old);
  b.End(young);
  REQUIRE(b.pool->free_count() == 0);
  auto third = b.Run("", Text(8, 2000));
  CHECK(b.cache.block_count() == 4);
  auto old_again = b.Run("", Text(8, 0));
  CHECK(old_again.cached == 1);  // its second block went, not its first
  b.End(third);
  b.End(old_again);

  auto all = b.Run("", Text(32, 3000));
  CHECK(all.blocks.size() == 4);
  CHECK_FALSE(b.cache.Evict());
  b.End(all);
}

// Whatever happens, a block that is found holds what was computed for its text, and memory never
// runs out while the sequences' own blocks fit.
TEST_CASE("random texts in random order") {
  const auto seed = static_cast<uint32_t>(std::random_device{}());
  CAPTURE(seed);
  std::mt19937 random(seed);
  Bench b(12);
  std::vector<Bench::User> users;
  size_t held = 0;
  size_t hits = 0;
  for (int round = 0; round < 5000; ++round) {
    // Few distinct tokens: texts often begin alike.
    std::vector<TokenId> text(random() % 33);
    for (size_t i = 0; i < text.size(); ++i) text[i] = static_cast<TokenId>(random() % 16 / 15);
    const std::string tenant(random() % 2, 'x');
    if (held + text.size() / 8 <= 12) {
      users.push_back(b.Run(tenant, text));
      held += users.back().blocks.size();
      hits += users.back().cached;
      for (size_t i = 0; i < users.back().blocks.size(); ++i) {
        REQUIRE(b.pool->Data(users.back().blocks[i])[0] == std::byte(text[i * 8]));
      }
    } else {
      const size_t who = random() % users.size();
      held -= users[who].blocks.size();
      b.End(users[who]);
      std::swap(users[who], users.back());
      users.pop_back();
    }
  }
  CHECK(hits > 100);
  for (Bench::User& user : users) b.End(user);
  CHECK(b.cache.unused_count() == b.cache.block_count());
  CHECK(b.pool->free_count() + b.cache.block_count() == 12);
  while (b.cache.Evict()) continue;
  CHECK(b.pool->free_count() == 12);
}

}  // namespace
}  // namespace baton
