#include "engine/vector/growing_buffer.h"

#include <vector>

#include "catch2/catch.hpp"

namespace baton {
namespace {

VectorFormat Floats(int32_t dimension) { return {VectorStorage::kF32, Metric::kL2, dimension}; }

TEST_CASE("a growing buffer keeps rows in chunks, in order") {
  constexpr int kDimension = 65'536;
  REQUIRE(GrowingBuffer(Floats(kDimension), 100).chunk_rows() == 16);  // a block of nibbles
  REQUIRE(GrowingBuffer(Floats(kDimension), 3).chunk_rows() == 3);

  GrowingBuffer buffer(Floats(2), 100'000);
  const int64_t rows = buffer.chunk_rows() + 5;
  for (int64_t row = 0; row < rows; ++row) {
    const float vector[2] = {static_cast<float>(row), 1};
    buffer.Append(static_cast<PointId>(row) + 1000, vector, static_cast<WriteSequence>(row) + 1);
  }
  REQUIRE(buffer.rows() == rows);
  int64_t seen = 0;
  for (int64_t first = 0; first < rows;) {
    const RowBlock block = buffer.Block(first, rows);
    for (int64_t i = 0; i < block.count; ++i, ++seen) {
      REQUIRE(block.ids[i] == static_cast<PointId>(seen) + 1000);
      REQUIRE(*block.vectors.Vector(i, nullptr) == static_cast<float>(seen));
      REQUIRE(buffer.SequenceOf(seen) == static_cast<WriteSequence>(seen) + 1);
      REQUIRE(block.LiveAt(1'000'000, i));
    }
    first += block.count;
  }
  REQUIRE(seen == rows);
}

TEST_CASE("a deleted row is live for earlier views and dead for later ones") {
  GrowingBuffer buffer(Floats(1), 8);
  const float vector[1] = {1};
  buffer.Append(5, vector, 1);
  REQUIRE(buffer.Contains(5));
  REQUIRE_FALSE(buffer.Delete(6, 2));
  REQUIRE(buffer.Delete(5, 3));
  REQUIRE_FALSE(buffer.Delete(5, 4));
  REQUIRE_FALSE(buffer.Contains(5));
  const RowBlock block = buffer.Block(0, 1);
  REQUIRE(block.LiveAt(2, 0));
  REQUIRE_FALSE(block.LiveAt(3, 0));
  buffer.Append(5, vector, 5);  // a new version is a new row
  REQUIRE(buffer.Contains(5));
  REQUIRE(buffer.live() == 1);
  REQUIRE(buffer.rows() == 2);
}

}  // namespace
}  // namespace baton
