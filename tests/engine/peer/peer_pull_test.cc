#include "engine/peer/peer_pull.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>
#include <vector>

#include "engine/peer/message.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

struct Memory {
  Memory(int64_t blocks, int64_t block_bytes)
      : bytes(static_cast<size_t>(blocks * block_bytes)),
        pull(Pointers(block_bytes), block_bytes, 5) {}
  std::vector<void*> Pointers(int64_t block_bytes) {
    std::vector<void*> pointers;
    // Backwards, so that the blocks do not lie one behind another.
    for (int64_t at = std::ssize(bytes) - block_bytes; at >= 0; at -= block_bytes) {
      pointers.push_back(bytes.data() + at);
    }
    return pointers;
  }
  std::vector<std::byte> bytes;
  PeerPull pull;
};

TEST_CASE("chunks in any order fill the blocks") {
  for (const auto& [blocks, block_bytes] :
       {std::pair<int64_t, int64_t>{1, 1}, {3, 1000}, {7, 65536}, {5, 100'008}, {40, 131'072}}) {
    CAPTURE(blocks, block_bytes);
    Memory memory(blocks, block_bytes);
    const int64_t total = blocks * block_bytes;
    REQUIRE(memory.pull.total_bytes() == total);
    std::vector<std::byte> sent(static_cast<size_t>(total));
    std::mt19937 random(3);
    std::ranges::generate(sent, [&] { return static_cast<std::byte>(random()); });
    std::vector<int64_t> offsets;
    for (int64_t at = 0; at < total; at += PeerChunkBytes(total)) offsets.push_back(at);
    std::ranges::shuffle(offsets, random);
    for (const int64_t at : offsets) {
      REQUIRE_FALSE(memory.pull.ended());
      const auto length = static_cast<size_t>(std::min(PeerChunkBytes(total), total - at));
      REQUIRE_OK(memory.pull.Put(at, std::span(sent).subspan(static_cast<size_t>(at), length), 9));
    }
    REQUIRE(memory.pull.ended() == absl::OkStatus());
    CHECK(memory.pull.elapsed_us() == 4);
    for (int64_t block = 0; block < blocks; ++block) {
      const auto here = memory.bytes.end() - (block + 1) * block_bytes;
      const auto there = sent.begin() + block * block_bytes;
      REQUIRE(std::equal(here, here + block_bytes, there));
    }
  }
}

TEST_CASE("chunks that cannot be are refused, and a cancelled pull writes nothing") {
  Memory memory(4, 65536);
  const std::vector<std::byte> chunk(static_cast<size_t>(PeerChunkBytes(4 * 65536)), std::byte{1});
  const auto refused = [&](int64_t offset, std::span<const std::byte> bytes, const char* part) {
    REQUIRE_STATUS(memory.pull.Put(offset, bytes, 9), absl::StatusCode::kInvalidArgument, part);
  };
  refused(1, chunk, "chunk.offset");
  refused(-65536, chunk, "chunk.offset");
  refused(4 * 65536, chunk, "chunk.offset");
  refused(0, std::span(chunk).first(7), "must have");
  REQUIRE_OK(memory.pull.Put(0, chunk, 9));
  refused(0, chunk, "came twice");
  memory.pull.Cancel();
  const std::vector<std::byte> before = memory.bytes;
  REQUIRE_OK(memory.pull.Put(std::ssize(chunk), chunk, 9));
  CHECK(memory.bytes == before);
  CHECK_FALSE(memory.pull.ended());
}

TEST_CASE("the first end counts") {
  Memory memory(1, 8);
  memory.pull.Fail(absl::NotFoundError("gone"), 7);
  memory.pull.Fail(absl::InternalError("late"), 8);
  REQUIRE_OK(memory.pull.Put(0, std::vector<std::byte>(8), 9));
  CHECK(absl::IsNotFound(*memory.pull.ended()));
}

}  // namespace
}  // namespace baton
