#include "engine/vector/reservoir.h"

#include <algorithm>
#include <random>
#include <vector>

#include "catch2/catch.hpp"

namespace baton {
namespace {

TEST_CASE("a reservoir keeps the nearest in whatever order they come, ties by node") {
  std::mt19937 random(51);
  for (const size_t capacity : {1, 2, 7, 100}) {
    for (const int count : {0, 1, 6, 7, 8, 14, 1000}) {
      for (const int keys : {1, 5, 10'000}) {
        std::vector<Candidate> all;
        for (int i = 0; i < count; ++i) {
          all.push_back({.key = static_cast<float>(static_cast<int>(random() % keys) - 3),
                         .node = static_cast<uint32_t>(i)});
        }
        std::shuffle(all.begin(), all.end(), random);
        std::vector<Candidate> memory;
        Reservoir reservoir(capacity, memory);
        for (const Candidate& candidate : all) {
          if (candidate.key < reservoir.bound()) reservoir.Add(candidate);
        }
        std::sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) {
          return a.key < b.key || (a.key == b.key && a.node < b.node);
        });
        all.resize(std::min(all.size(), capacity));
        const auto kept = reservoir.Finish();
        CAPTURE(capacity, count, keys);
        REQUIRE(kept.size() == all.size());
        bool same = true;
        for (size_t i = 0; i < all.size(); ++i) {
          same = same && kept[i].key == all[i].key && kept[i].node == all[i].node;
        }
        REQUIRE(same);
      }
    }
  }
}

}  // namespace
}  // namespace baton
