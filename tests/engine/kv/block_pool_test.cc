#include "engine/kv/block_pool.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/status_matchers.h"

namespace baton {
namespace {

KvLayout Layout(int32_t layers, int32_t kv_heads, int32_t head_dim, KvType type = KvType::kF32) {
  return WithBlockTokens(
      {.layers = layers, .kv_heads = kv_heads, .head_dim = head_dim, .type = type});
}

TEST_CASE("a block holds 64 positions at most and stays within 2 MB") {
  CHECK(Layout(5, 4, 8).block_tokens == 64);
  const KvLayout big = Layout(32, 8, 128);  // 8B shape: 256 KB a position in f32
  CHECK(big.block_tokens == 8);
  CHECK(big.block_bytes() == int64_t{32} * 2 * 8 * 8 * 128 * 4);
  const KvLayout middle = Layout(22, 4, 64);  // 1.1B shape: 45 KB a position
  CHECK(middle.block_tokens == 32);
  CHECK(middle.block_bytes() <= 2 << 20);
}

TEST_CASE("a smaller type makes smaller blocks, or of more positions") {
  CHECK(Layout(32, 8, 128, KvType::kF32).token_bytes() == 262144);
  CHECK(Layout(32, 8, 128, KvType::kF16).token_bytes() == 131072);
  CHECK(Layout(32, 8, 128, KvType::kInt8).token_bytes() == 67584);  // 512 vectors of 128 + 4
  CHECK(Layout(32, 8, 128, KvType::kF16).block_tokens == 16);
  CHECK(Layout(22, 4, 64, KvType::kF16).block_tokens == 64);
  CHECK(Layout(22, 4, 64, KvType::kInt8).block_tokens == 64);
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kBF16, KvType::kInt8}) {
    CHECK(KvTypeOf(Name(type)) == type);
    // Odd heads do not misalign what lies behind them.
    const KvLayout odd = Layout(3, 5, 7, type);
    CHECK(odd.area_bytes() % 8 == 0);
    CHECK(odd.block_bytes() == odd.token_bytes() * odd.block_tokens);
  }
  CHECK(KvTypeOf("f8") == std::nullopt);
}

TEST_CASE("blocks are distinct, writable, and bounded in number") {
  auto pool = KvBlockPool::Create(Layout(2, 1, 4), 3);
  REQUIRE_OK(pool);
  std::vector<KvBlockRef> blocks;
  for (int i = 0; i < 3; ++i) {
    auto block = (*pool)->Allocate();
    REQUIRE_OK(block);
    std::fill_n((*pool)->Data(*block), (*pool)->layout().block_bytes(), std::byte(i));
    blocks.push_back(*block);
  }
  REQUIRE_STATUS((*pool)->Allocate(), absl::StatusCode::kResourceExhausted, "all 3 KV blocks");
  for (int i = 0; i < 3; ++i) {
    const std::byte* data = (*pool)->Data(blocks[static_cast<size_t>(i)]);
    CHECK(std::all_of(data, data + (*pool)->layout().block_bytes(),
                      [i](std::byte b) { return b == std::byte(i); }));
  }
}

TEST_CASE("a freed block's reference is stale, also when the block lives again") {
  auto pool = KvBlockPool::Create(Layout(1, 1, 4), 1);
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
// A device's memory, of which nothing may be touched.
class FarMemory final : public KvMemorySource {
 public:
  absl::StatusOr<std::unique_ptr<KvMemory>> Allocate(const Blocks& blocks) override {
    if (blocks.count * blocks.bytes > 4096)
      return absl::ResourceExhaustedError("4096 bytes are free");
    ++allocated;
    return std::make_unique<Memory>(*this);
  }
  std::optional<KvType> only_type() const override { return std::nullopt; }
  int allocated = 0;

 private:
  struct Memory final : public KvMemory {
    explicit Memory(FarMemory& from) : of(from) {}
    ~Memory() override { --of.allocated; }
    std::byte* data() const override { return reinterpret_cast<std::byte*>(0x10000); }
    FarMemory& of;
  };
};

TEST_CASE("blocks lie in a device's memory where it is asked for them") {
  FarMemory far;
  const KvLayout layout = {.layers = 1, .kv_heads = 1, .head_dim = 8, .block_tokens = 8};
  {
    auto pool = KvBlockPool::Create(layout, 4096 / static_cast<int32_t>(layout.block_bytes()), far);
    REQUIRE(pool.ok());
    CHECK(far.allocated == 1);
    const KvBlockRef first = *(*pool)->Allocate();
    const KvBlockRef second = *(*pool)->Allocate();
    CHECK((*pool)->Data(first) == reinterpret_cast<std::byte*>(0x10000));
    CHECK((*pool)->Data(second) - (*pool)->Data(first) == layout.block_bytes());
  }
  CHECK(far.allocated == 0);
  CHECK(KvBlockPool::Create(layout, 100, far).status() ==
        absl::ResourceExhaustedError("4096 bytes are free"));
}

}  // namespace baton
