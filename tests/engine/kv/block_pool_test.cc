#include "engine/kv/block_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

TEST_CASE("a block holds 64 positions at most and stays within 2 MB") {
  CHECK(MakeKvLayout(5, 4, 8).block_tokens == 64);
  const KvLayout big = MakeKvLayout(32, 8, 128);  // 8B shape: 256 KB a position in f32
  CHECK(big.block_tokens == 8);
  CHECK(big.block_bytes() == int64_t{32} * 2 * 8 * 8 * 128 * 4);
  const KvLayout middle = MakeKvLayout(22, 4, 64);  // 1.1B shape: 45 KB a position
  CHECK(middle.block_tokens == 32);
  CHECK(middle.block_bytes() <= 2 << 20);
}

TEST_CASE("blocks are distinct, writable, and bounded in number") {
  auto pool = KvBlockPool::Create(MakeKvLayout(2, 1, 4), 3);
  REQUIRE_OK(pool);
  std::vector<KvBlockRef> blocks;
  for (int i = 0; i < 3; ++i) {
    auto block = (*pool)->Allocate();
    REQUIRE_OK(block);
    std::fill_n((*pool)->Data(*block), (*pool)->layout().block_elements(), static_cast<float>(i));
    blocks.push_back(*block);
  }
  REQUIRE_STATUS((*pool)->Allocate(), absl::StatusCode::kResourceExhausted, "all 3 KV blocks");
  for (int i = 0; i < 3; ++i) {
    const float* data = (*pool)->Data(blocks[static_cast<size_t>(i)]);
    CHECK(std::all_of(data, data + (*pool)->layout().block_elements(),
                      [i](float v) { return v == static_cast<float>(i); }));
  }
}

TEST_CASE("a freed block's reference is stale, also when the block lives again") {
  auto pool = KvBlockPool::Create(MakeKvLayout(1, 1, 4), 1);
  REQUIRE_OK(pool);
  const KvBlockRef first = *(*pool)->Allocate();
  CHECK((*pool)->IsCurrent(first));
  (*pool)->Free(first);
  CHECK_FALSE((*pool)->IsCurrent(first));
  const KvBlockRef second = *(*pool)->Allocate();
  CHECK(second.id == first.id);
  CHECK((*pool)->IsCurrent(second));
  CHECK_FALSE((*pool)->IsCurrent(first));
  CHECK((*pool)->free_count() == 0);
}

}  // namespace
}  // namespace baton
