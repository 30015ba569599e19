#include "engine/vector/id_filter.h"

#include <catch2/catch.hpp>
#include <vector>

namespace baton {
namespace {

TEST_CASE("an id filter passes all of its ids and few others") {
  const uint64_t step = GENERATE(as<uint64_t>{}, 1, 1000, uint64_t{1} << 40);
  const bool uuids = GENERATE(false, true);
  for (const size_t count : {0, 1, 5, 1000, 20'000}) {
    PointIdList ids;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t half = i * 2 * step;
      ids.push_back(uuids ? MakePointId(half | 1, half) : half);
    }
    const IdFilter filter(ids.view());
    size_t passed = 0;
    for (size_t i = 0; i < count; ++i) {
      REQUIRE(filter.MayContain(ids[i]));
      passed += filter.MayContain(ids[i] + step) ? 1 : 0;
    }
    CAPTURE(step, count, passed);
    REQUIRE(passed <= 10 + count / 20);
  }
}

}  // namespace
}  // namespace baton
