#include "engine/base/huge_arena.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <vector>

namespace baton {
namespace {

struct Piece {
  std::shared_ptr<std::byte[]> data;
  size_t bytes;
};

TEST_CASE("pieces of an arena are zeroed, aligned and apart, and outlive it") {
  const std::vector<size_t> sizes = {1, 63, 64, 65, size_t{3} << 20, size_t{5} << 20, 1000};
  size_t all = 0;
  for (const size_t bytes : sizes) all += HugeArena::Share(bytes);
  // As foretold; the last ones beyond it; every one beyond it.
  const size_t foretold = GENERATE_COPY(size_t{all}, size_t{1000}, size_t{0});
  std::optional<HugeArena> arena(std::in_place, foretold);
  std::vector<Piece> pieces;
  for (const size_t bytes : sizes) {
    pieces.push_back({arena->Take(bytes), bytes});
    const std::byte* const data = pieces.back().data.get();
    CHECK(reinterpret_cast<uintptr_t>(data) % 64 == 0);
    CHECK(std::all_of(data, data + bytes, [](std::byte b) { return b == std::byte{0}; }));
    std::memset(pieces.back().data.get(), static_cast<int>(pieces.size()), bytes);
  }
  if (foretold == all) {
    const std::byte* const end = pieces.back().data.get() + HugeArena::Share(sizes.back());
    CHECK(end == pieces.front().data.get() + all);
  }
  arena.reset();
  for (size_t i = 0; i < pieces.size(); ++i) {
    const std::byte* const data = pieces[i].data.get();
    CHECK(std::all_of(data, data + pieces[i].bytes,
                      [i](std::byte b) { return b == static_cast<std::byte>(i + 1); }));
    pieces[i].data.reset();  // what shares its memory stays
  }
}

TEST_CASE("an arena's piece of nothing") { CHECK(HugeArena().Take(0) == nullptr); }

}  // namespace
}  // namespace baton
