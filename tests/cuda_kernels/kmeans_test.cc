#include "cuda_kernels/kmeans.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <numeric>

#include "engine/vector/faiss_training.h"
#include "tests/cuda_kernels/kernel_suite.h"

namespace baton::cuda {
namespace {

struct Shape {
  int64_t rows = 100;
  int64_t dimension = 20;
  int64_t centroids = 9;
  bool spherical = false;
  int64_t used = 0;  // centroids that have rows before an update; 0: all
};

// Whole numbers: distances are exact, many are the same, and the lowest centroid has the row.
std::vector<float> WholeFloats(int64_t count, uint64_t seed) {
  std::vector<float> values = RandomFloats(static_cast<size_t>(count), seed);
  for (float& x : values) x = std::nearbyint(x * 2);
  return values;
}

std::string RunAssign(const Shape& s) {
  const std::vector<float> vectors = WholeFloats(s.rows * s.dimension, 21);
  const std::vector<float> centroids = WholeFloats(s.centroids * s.dimension, 22);
  std::vector<uint32_t> want(static_cast<size_t>(s.rows));
  std::vector<float> want_distances(want.size());
  for (int64_t row = 0; row < s.rows; ++row) {
    double least = INFINITY;
    for (int64_t c = 0; c < s.centroids; ++c) {
      double distance = 0;
      for (int64_t i = 0; i < s.dimension; ++i) {
        const double x = vectors[row * s.dimension + i];
        const double y = centroids[c * s.dimension + i];
        distance += s.spherical ? -x * y : (x - y) * (x - y);
      }
      if (distance >= least) continue;
      least = distance;
      want[row] = static_cast<uint32_t>(c);
    }
    want_distances[row] = static_cast<float>(least);
  }
  const DeviceArray<float> device_vectors(vectors, 1);
  const DeviceArray<float> device_centroids(centroids);
  const DeviceArray<uint32_t> nearest(want.size());
  const DeviceArray<float> distances(want.size());
  const std::string failure = Failure(KmeansAssign({.vectors = device_vectors.data(),
                                                    .centroids = device_centroids.data(),
                                                    .nearest = nearest.data(),
                                                    .distances = distances.data(),
                                                    .rows = s.rows,
                                                    .dimension = s.dimension,
                                                    .centroid_count = s.centroids,
                                                    .spherical = s.spherical},
                                                   nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = DifferenceExact("nearest", nearest.Read(), want);
  return difference.empty() ? Difference("distances", distances.Read(), want_distances, {})
                            : difference;
}

std::string RunUpdate(const Shape& s) {
  const std::vector<float> vectors = RandomFloats(static_cast<size_t>(s.rows * s.dimension), 23);
  std::vector<float> want = RandomFloats(static_cast<size_t>(s.centroids * s.dimension), 24);
  const DeviceArray<float> centroids(want);
  const int64_t used = s.used > 0 ? s.used : s.centroids;
  std::vector<uint32_t> nearest;
  std::vector<int64_t> counts(static_cast<size_t>(s.centroids), 0);
  for (int64_t row = 0; row < s.rows; ++row) {
    // The last of those in use have most.
    nearest.push_back(static_cast<uint32_t>(std::max(row % used, row % 7 % used)));
    ++counts[nearest.back()];
  }
  for (int64_t c = 0; c < s.centroids; ++c) {
    if (counts[c] == 0) continue;
    std::vector<double> mean(static_cast<size_t>(s.dimension), 0);
    for (int64_t row = 0; row < s.rows; ++row) {
      if (nearest[row] != c) continue;
      for (int64_t i = 0; i < s.dimension; ++i) mean[i] += vectors[row * s.dimension + i];
    }
    double length = 0;
    for (double& x : mean) {
      x /= static_cast<double>(counts[c]);
      length += x * x;
    }
    for (int64_t i = 0; i < s.dimension; ++i) {
      want[c * s.dimension + i] =
          static_cast<float>(s.spherical ? mean[i] / std::sqrt(length) : mean[i]);
    }
  }
  for (int64_t empty = 0; empty < s.centroids; ++empty) {
    if (counts[empty] > 0) continue;
    const auto most = std::max_element(counts.begin(), counts.end());
    if (*most < 2) break;
    const int64_t from = most - counts.begin();
    for (int64_t i = 0; i < s.dimension; ++i) {
      const float value = want[from * s.dimension + i];
      const float apart = i % 2 == 0 ? 0x1p-10f : -0x1p-10f;
      want[empty * s.dimension + i] = value * (1 + apart);
      want[from * s.dimension + i] = value * (1 - apart);
    }
    counts[empty] = *most / 2;
    *most -= counts[empty];
  }
  const DeviceArray<float> device_vectors(vectors);
  const DeviceArray<uint32_t> device_nearest(nearest);
  const DeviceArray<int64_t> device_counts(counts.size());
  const DeviceArray<int64_t> sums(want.size());
  const std::string failure = Failure(KmeansUpdate({.vectors = device_vectors.data(),
                                                    .nearest = device_nearest.data(),
                                                    .centroids = centroids.data(),
                                                    .counts = device_counts.data(),
                                                    .sums = sums.data(),
                                                    .unit = KmeansUnit(s.rows, 1),
                                                    .rows = s.rows,
                                                    .dimension = s.dimension,
                                                    .centroid_count = s.centroids,
                                                    .spherical = s.spherical},
                                                   nullptr));
  if (!failure.empty()) return failure;
  const std::string difference = DifferenceExact("counts", device_counts.Read(), counts);
  return difference.empty() ? Difference("centroids", centroids.Read(), want, {1e-6, 1e-5})
                            : difference;
}

TEST_CASE("rows belong to their nearest centroid") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunAssign(shape); }});
  };
  with("a few", {});
  with("spherical", {.spherical = true});
  with("several tiles", {.rows = 65, .dimension = 33, .centroids = 130});
  with("one of each", {.rows = 1, .dimension = 1, .centroids = 1});
  with("no rows", {.rows = 0});
  with("no values", {.rows = 3, .dimension = 0});
  CheckKernel(cases, Barriers::kAll);
}

TEST_CASE("centroids move to their rows, and those without any get half of another's") {
  std::vector<KernelCase> cases;
  const auto with = [&](const std::string& name, const Shape& shape) {
    cases.push_back({name, [=] { return RunUpdate(shape); }});
  };
  with("a few", {});
  with("spherical", {.dimension = 300, .spherical = true});
  with("some without rows", {.rows = 50, .dimension = 5, .centroids = 20, .used = 7});
  with("many without rows", {.rows = 700, .dimension = 270, .centroids = 300, .used = 3});
  with("more than there are rows", {.rows = 3, .dimension = 5, .centroids = 20});
  with("no rows", {.rows = 0});
  CheckKernel(cases, Barriers::kAll);
}

// What both are for: no worse than FAISS, from the same number of rows and steps.
TEST_CASE("steps of k-means find clusters") {
  constexpr int64_t kRows = 400;
  constexpr int64_t kDimension = 8;
  constexpr int64_t kClusters = 6;
  std::vector<float> vectors = RandomFloats(kRows * kDimension, 41);
  for (int64_t row = 0; row < kRows; ++row) vectors[row * kDimension + row % kClusters] += 9;
  std::vector<float> start(vectors.begin(), vectors.begin() + kClusters * kDimension);
  std::rotate(start.begin(), start.begin() + kDimension, start.end());
  // Two begin at the same place: one of them loses its rows.
  std::copy_n(start.begin(), kDimension, start.begin() + kDimension);
  const DeviceArray<float> device_vectors(vectors);
  const DeviceArray<float> centroids(start);
  const DeviceArray<uint32_t> nearest(size_t{kRows});
  const DeviceArray<float> distances(size_t{kRows});
  const DeviceArray<int64_t> counts(size_t{kClusters});
  const DeviceArray<int64_t> sums(start.size());
  for (int step = 0; step < 12; ++step) {
    REQUIRE(KmeansAssign({.vectors = device_vectors.data(),
                          .centroids = centroids.data(),
                          .nearest = nearest.data(),
                          .distances = distances.data(),
                          .rows = kRows,
                          .dimension = kDimension,
                          .centroid_count = kClusters},
                         nullptr) == cudaSuccess);
    REQUIRE(KmeansUpdate({.vectors = device_vectors.data(),
                          .nearest = nearest.data(),
                          .centroids = centroids.data(),
                          .counts = counts.data(),
                          .sums = sums.data(),
                          .unit = KmeansUnit(kRows, 10),
                          .rows = kRows,
                          .dimension = kDimension,
                          .centroid_count = kClusters},
                         nullptr) == cudaSuccess);
  }
  const TrainingRows rows = {.vectors = vectors.data(), .rows = kRows, .dimension = kDimension};
  const auto never = [] { return false; };
  const auto trained = TrainCentroids(rows, {.k = kClusters, .iterations = 12}, never);
  REQUIRE(trained.ok());
  std::vector<uint32_t> theirs(size_t{kRows});
  REQUIRE(AssignToCentroids(rows, *trained, false, never, theirs.data()).ok());
  double of_faiss = 0;
  for (int64_t row = 0; row < kRows; ++row) {
    for (int64_t i = 0; i < kDimension; ++i) {
      const double apart =
          vectors[row * kDimension + i] - double{(*trained)[theirs[row] * kDimension + i]};
      of_faiss += apart * apart;
    }
  }
  const std::vector<float> ours = distances.Read();
  CHECK(std::accumulate(ours.begin(), ours.end(), 0.0) <= of_faiss * 1.02);
}

TEST_CASE("sums of any rows fit their unit") {
  CHECK(KmeansUnit(1, 1) == 0x1p60);
  CHECK(KmeansUnit(1'000'000, 100) * 1e6 * 100 < 0x1p62);
  CHECK(KmeansUnit(1'000'000, 100) * 1e6 * 100 > 0x1p59);
}

TEST_CASE("no centroids are refused") {
  CHECK(KmeansAssign({.rows = 1, .centroid_count = 0}, nullptr) == cudaErrorInvalidValue);
  CHECK(KmeansUpdate({.unit = 1, .centroid_count = 0}, nullptr) == cudaErrorInvalidValue);
  CHECK(KmeansUpdate({.unit = 0, .centroid_count = 1}, nullptr) == cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::cuda
