#include "engine/vector/dead_rows.h"

#include <random>
#include <string>
#include <vector>

#include "engine/vector/segment.h"
#include "tests/engine/vector/vector_harness.h"

namespace baton {
namespace {

TEST_CASE("dead rows come back as they were stored, few or many of them") {
  std::mt19937 random(3);
  for (const int64_t count : {1, 7, 8, 9, 300}) {
    for (const uint32_t in : {1u, 2u, 20u, 1000u}) {  // one in so many is dead
      CAPTURE(count, in);
      SegmentRows rows;
      for (int64_t i = 0; i < count; ++i) {
        rows.ids.push_back(static_cast<PointId>(i));
        rows.sequences.push_back(1);
      }
      rows.vectors = RandomVector(random, static_cast<int>(count));
      const CollectionSpec spec = Spec("c", 1);
      auto graph = SealedGraph::Build(GraphRowsOf(spec, rows), [] { return false; });
      REQUIRE_OK(graph);
      Segment segment(1, FormatOf(spec), std::move(rows), std::move(*graph));
      std::vector<int64_t> dead;
      for (int64_t row = 0; row < count; ++row) {
        if (random() % in != 0) continue;
        dead.push_back(row);
        REQUIRE(segment.Delete(static_cast<PointId>(row), 5));
      }
      const std::string bytes = EncodeDeadRows(segment);
      REQUIRE(bytes.size() <= 2 + static_cast<size_t>(count) / 8);
      const auto decoded = DecodeDeadRows(bytes, count);
      REQUIRE_OK(decoded);
      REQUIRE(*decoded == dead);
    }
  }
}

TEST_CASE("what are no dead rows is refused") {
  using std::string_literals::operator""s;
  for (const std::string& bytes : {""s, "\2"s, "\0\1"s, "\0\5\0\0\0"s, "\0\2\0\0\0\2\0\0\0"s,
                                   "\0\2\0\0\0\1\0\0\0"s, "\1"s, "\1\0\0"s}) {
    REQUIRE_STATUS(DecodeDeadRows(bytes, 5), absl::StatusCode::kDataLoss, "dead rows");
  }
  REQUIRE(DecodeDeadRows("\1\x12"s, 5).value() == std::vector<int64_t>{1, 4});
}

}  // namespace
}  // namespace baton
