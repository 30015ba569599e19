#include "engine/vector/faiss_training.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/engine/vector/vector_harness.h"
#include "tests/support/status_matchers.h"

namespace baton {
namespace {

bool Never() { return false; }

// Rows around `centers` points far from each other.
std::vector<float> Clouds(std::mt19937& random, int centers, int rows, int dimension) {
  std::normal_distribution<float> noise(0, 0.05f);
  std::vector<float> vectors;
  const std::vector<float> at = RandomVector(random, centers * dimension);
  for (int row = 0; row < rows; ++row) {
    for (int j = 0; j < dimension; ++j) {
      vectors.push_back(10 * at[(row % centers) * dimension + j] + noise(random));
    }
  }
  return vectors;
}

double SquaredDistance(const float* a, const float* b, int dimension) {
  double sum = 0;
  for (int j = 0; j < dimension; ++j) sum += (double{a[j]} - b[j]) * (double{a[j]} - b[j]);
  return sum;
}

double Product(const float* a, const float* b, int dimension) {
  double sum = 0;
  for (int j = 0; j < dimension; ++j) sum += double{a[j]} * b[j];
  return sum;
}

// The k-means of a textbook, from the same kind of start; returns the mean squared distance.
double NaiveKmeans(std::mt19937& random, const TrainingRows& rows, int k, int iterations) {
  const int d = rows.dimension;
  std::vector<std::vector<double>> centers;
  for (int c = 0; c < k; ++c) {
    const float* row = rows.vectors + random() % rows.rows * d;
    centers.emplace_back(row, row + d);
  }
  double error = 0;
  for (int i = 0; i <= iterations; ++i) {
    std::vector<std::vector<double>> sums(centers.size(), std::vector<double>(d));
    std::vector<int> counts(centers.size());
    error = 0;
    for (int64_t row = 0; row < rows.rows; ++row) {
      double nearest = std::numeric_limits<double>::max();
      size_t best = 0;
      for (size_t c = 0; c < centers.size(); ++c) {
        double distance = 0;
        for (int j = 0; j < d; ++j) {
          distance += std::pow(centers[c][j] - rows.vectors[row * d + j], 2);
        }
        if (distance < nearest) nearest = distance, best = c;
      }
      error += nearest;
      ++counts[best];
      for (int j = 0; j < d; ++j) sums[best][j] += rows.vectors[row * d + j];
    }
    for (size_t c = 0; c < centers.size(); ++c) {
      for (int j = 0; j < d && counts[c] > 0; ++j) centers[c][j] = sums[c][j] / counts[c];
    }
  }
  return error / static_cast<double>(rows.rows);
}

TEST_CASE("centroids are as good as naive ones, and the same again") {
  std::mt19937 random(31);
  const std::vector<float> vectors = Clouds(random, 20, 1500, 7);
  const TrainingRows rows{.vectors = vectors.data(), .rows = 1500, .dimension = 7};
  const KmeansParams params{.k = 12, .iterations = 15, .seed = 3};
  const auto centroids = TrainCentroids(rows, params, Never);
  REQUIRE_OK(centroids);
  REQUIRE(centroids->size() == 12 * 7);
  std::vector<uint32_t> nearest(1500);
  REQUIRE_OK(AssignToCentroids(rows, *centroids, false, Never, nearest.data()));
  double error = 0;
  for (int row = 0; row < 1500; ++row) {
    const float* vector = vectors.data() + row * 7;
    double best = std::numeric_limits<double>::max();
    for (int c = 0; c < 12; ++c) {
      best = std::min(best, SquaredDistance(vector, centroids->data() + c * 7, 7));
    }
    const double got = SquaredDistance(vector, centroids->data() + nearest[row] * 7, 7);
    REQUIRE(got <= best + 1e-3 * (1 + best));
    error += got;
  }
  double naive = std::numeric_limits<double>::max();
  for (int i = 0; i < 5; ++i) naive = std::min(naive, NaiveKmeans(random, rows, 12, 15));
  CHECK(error / 1500 < 1.5 * naive);

  const auto again = TrainCentroids(rows, params, Never);
  REQUIRE_OK(again);
  CHECK(*again == *centroids);
  const auto other = TrainCentroids(rows, {.k = 12, .iterations = 15, .seed = 4}, Never);
  REQUIRE_OK(other);
  CHECK(*other != *centroids);
}

TEST_CASE("spherical centroids have unit length, and rows follow the inner product") {
  std::mt19937 random(32);
  const std::vector<float> vectors = Clouds(random, 9, 400, 33);
  const TrainingRows rows{.vectors = vectors.data(), .rows = 400, .dimension = 33};
  const auto centroids = TrainCentroids(rows, {.k = 5, .spherical = true}, Never);
  REQUIRE_OK(centroids);
  for (int c = 0; c < 5; ++c) {
    const float* centroid = centroids->data() + c * 33;
    CHECK(Product(centroid, centroid, 33) == Approx(1).epsilon(1e-4));
  }
  std::vector<uint32_t> nearest(400);
  REQUIRE_OK(AssignToCentroids(rows, *centroids, true, Never, nearest.data()));
  for (int row = 0; row < 400; ++row) {
    const float* vector = vectors.data() + row * 33;
    const double got = Product(vector, centroids->data() + nearest[row] * 33, 33);
    for (int c = 0; c < 5; ++c) {
      const double other = Product(vector, centroids->data() + c * 33, 33);
      REQUIRE(got >= other - 1e-3 * (1 + std::abs(other)));
    }
  }
}

TEST_CASE("as many centroids as rows, and rows that are all alike") {
  const std::vector<float> vectors(8 * 3, 2.5f);
  const TrainingRows rows{.vectors = vectors.data(), .rows = 8, .dimension = 3};
  for (const int k : {1, 3, 8}) {
    const auto centroids = TrainCentroids(rows, {.k = k}, Never);
    REQUIRE_OK(centroids);
    REQUIRE(std::ssize(*centroids) == k * 3);
    for (const float value : *centroids) CHECK(value == Approx(2.5f).epsilon(0.01));
    std::vector<uint32_t> nearest(8);
    REQUIRE_OK(AssignToCentroids(rows, *centroids, false, Never, nearest.data()));
    CHECK(*std::max_element(nearest.begin(), nearest.end()) < static_cast<uint32_t>(k));
  }
}

TEST_CASE("training can be stopped, before it begins and while it runs") {
  std::mt19937 random(33);
  const std::vector<float> vectors = RandomVector(random, 5000 * 16);
  const TrainingRows rows{.vectors = vectors.data(), .rows = 5000, .dimension = 16};
  std::vector<uint32_t> nearest(5000);
  for (const int after : {0, 3}) {
    int asked = 0;
    const auto stop = [&] { return asked++ >= after; };
    CHECK(absl::IsCancelled(TrainCentroids(rows, {.k = 50, .iterations = 1000}, stop).status()));
    asked = 0;
    CHECK(absl::IsCancelled(TrainProductBooks(rows, 8, 4, stop).status()));
    asked = after > 0 ? 2 : 0;
    CHECK(absl::IsCancelled(
        AssignToCentroids(rows, std::vector<float>(vectors.begin(), vectors.begin() + 160), false,
                          stop, nearest.data())));
  }
}

TEST_CASE("product books are nearer to the rows than random rows are") {
  std::mt19937 random(34);
  constexpr int kRows = 600;
  constexpr int kDimension = 12;
  const std::vector<float> vectors = RandomVector(random, kRows * kDimension);
  const TrainingRows rows{.vectors = vectors.data(), .rows = kRows, .dimension = kDimension};
  const int bits = GENERATE(4, 8);
  const int centroids = 1 << bits;
  CAPTURE(bits);
  const auto books = TrainProductBooks(rows, 4, bits, Never);
  REQUIRE_OK(books);
  REQUIRE(std::ssize(*books) == 4 * centroids * 3);
  double trained = 0;
  double untrained = 0;
  for (int row = 0; row < kRows; ++row) {
    for (int m = 0; m < 4; ++m) {
      double best = std::numeric_limits<double>::max();
      double best_row = best;
      for (int c = 0; c < centroids; ++c) {
        const float* part = vectors.data() + row * kDimension + m * 3;
        best = std::min(best, SquaredDistance(part, books->data() + (m * centroids + c) * 3, 3));
        best_row =
            std::min(best_row, SquaredDistance(part, vectors.data() + c * kDimension + m * 3, 3));
      }
      trained += best;
      untrained += row < centroids ? best : best_row;
    }
  }
  CHECK(trained < 0.9 * untrained);
}

}  // namespace
}  // namespace baton
