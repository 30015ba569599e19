#include "engine/vector/centroid_math.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <vector>

namespace baton {
namespace {

TEST_CASE("k-means begins with rows and with none of them twice") {
  std::vector<float> rows;
  for (int i = 0; i < 40; ++i) rows.insert(rows.end(), {static_cast<float>(i), 1, 0});
  const TrainingRows of = {.vectors = rows.data(), .rows = 40, .dimension = 3};
  for (const int32_t k : {0, 1, 7, 40}) {
    CAPTURE(k);
    const std::vector<float> centroids = StartingCentroids(of, {.k = k, .seed = 5});
    REQUIRE(std::ssize(centroids) == 3 * k);
    std::set<float> seen;
    for (int32_t i = 0; i < k; ++i) {
      const float* const centroid = centroids.data() + 3 * i;
      CHECK(seen.insert(centroid[0]).second);
      CHECK((centroid[0] >= 0 && centroid[0] < 40 && centroid[1] == 1 && centroid[2] == 0));
    }
    CHECK(StartingCentroids(of, {.k = k, .seed = 5}) == centroids);
  }
  CHECK(StartingCentroids(of, {.k = 7, .seed = 5}) != StartingCentroids(of, {.k = 7, .seed = 6}));
}

TEST_CASE("spherical k-means begins with rows of unit length, or of none") {
  const std::vector<float> rows = {3, 4, 0, 0, -5, 12};
  const std::vector<float> centroids = StartingCentroids(
      {.vectors = rows.data(), .rows = 3, .dimension = 2}, {.k = 3, .seed = 1, .spherical = true});
  REQUIRE(centroids.size() == 6);
  int zeros = 0;
  for (size_t i = 0; i < 6; i += 2) {
    const float length = std::hypot(centroids[i], centroids[i + 1]);
    zeros += length == 0 ? 1 : 0;
    if (length != 0) CHECK(length == Approx(1));
  }
  CHECK(zeros == 1);
}

}  // namespace
}  // namespace baton
