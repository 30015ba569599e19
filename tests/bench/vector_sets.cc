#include "tests/bench/vector_sets.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "tests/bench/hnswlib_peer.h"
#include "tests/support/shared_data.h"

namespace baton {
namespace {

// Of all queries, these are compared with the exact answer.
constexpr int64_t kCheckedQueries = 1000;

constexpr double kTolerance = 1e-3;

// Of each generated value, beside about 1 of what it is added to.
constexpr float kNoise = 0.05f;

double Distance(const VectorSet& set, const float* a, const float* b) {
  double squares = 0;
  double product = 0;
  for (int64_t i = 0; i < set.dimension; ++i) {
    squares += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    product += double{a[i]} * b[i];
  }
  return set.metric == Metric::kL2 ? std::sqrt(squares) : 1 - product;
}

void FindLimits(VectorSet& set, int32_t k) {
  std::vector<float> distances(static_cast<size_t>(set.rows()));
  std::vector<int64_t> order(distances.size());
  for (int64_t q = 0; q < std::min(kCheckedQueries, set.query_count()); ++q) {
    PlainDistances(set.metric, set.query(q), set.base.data(), set.rows(), set.dimension,
                   distances.data());
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::nth_element(order.begin(), order.begin() + k - 1, order.end(),
                     [&](int64_t a, int64_t b) { return distances[a] < distances[b]; });
    set.limits.push_back(Distance(set, set.query(q), set.row(order[k - 1])) + kTolerance);
  }
}

// The values of an .fvecs or .bvecs file.
std::vector<float> ReadVectors(const std::filesystem::path& path, int64_t* dimension) {
  const std::string bytes = ReadWholeFile(path);
  const bool are_bytes = path.extension() == ".bvecs";
  std::vector<float> values;
  for (size_t at = 0; at + sizeof(int32_t) <= bytes.size();) {
    int32_t count = 0;
    std::memcpy(&count, bytes.data() + at, sizeof(count));
    at += sizeof(count);
    const size_t size = static_cast<size_t>(count) * (are_bytes ? 1 : sizeof(float));
    if (count <= 0 || (*dimension != 0 && *dimension != count) || bytes.size() - at < size) {
      std::fprintf(stderr, "%s: no %s file\n", path.c_str(), path.extension().c_str());
      std::exit(1);
    }
    *dimension = count;
    const size_t first = values.size();
    values.resize(first + static_cast<size_t>(count));
    if (are_bytes) {
      const auto* from = reinterpret_cast<const unsigned char*>(bytes.data() + at);
      std::copy_n(from, count, values.begin() + static_cast<int64_t>(first));
    } else {
      std::memcpy(values.data() + first, bytes.data() + at, size);
    }
    at += size;
  }
  return values;
}

void ScaleToUnit(std::vector<float>& vectors, int64_t dimension) {
  for (size_t first = 0; first < vectors.size(); first += static_cast<size_t>(dimension)) {
    double squares = 0;
    for (int64_t i = 0; i < dimension; ++i)
      squares += double{vectors[first + i]} * vectors[first + i];
    for (int64_t i = 0; i < dimension; ++i) {
      vectors[first + i] = static_cast<float>(vectors[first + i] / std::sqrt(squares));
    }
  }
}

}  // namespace

double VectorSet::Recall(const std::vector<std::vector<int64_t>>& found, int32_t k) const {
  int64_t right = 0;
  for (size_t q = 0; q < limits.size(); ++q) {
    for (const int64_t i : found[q]) {
      right += Distance(*this, query(static_cast<int64_t>(q)), row(i)) <= limits[q] ? 1 : 0;
    }
  }
  return static_cast<double>(right) / (static_cast<double>(limits.size()) * k);
}

VectorSet ReadVectorSet(const std::string& folder, const std::string& name, int32_t k) {
  VectorSet set{.name = name, .metric = Metric::kL2};
  const std::filesystem::path stem = std::filesystem::path(folder) / name;
  const bool floats = std::filesystem::exists(stem.string() + "_base.fvecs");
  const std::string ending = floats ? ".fvecs" : ".bvecs";
  set.base = ReadVectors(stem.string() + "_base" + ending, &set.dimension);
  set.queries = ReadVectors(stem.string() + "_query" + ending, &set.dimension);
  FindLimits(set, k);
  return set;
}

VectorGenerator::VectorGenerator(Metric metric, int64_t dimension, uint64_t seed,
                                 const VectorSpread& spread)
    : metric_(metric),
      dimension_(dimension),
      spread_(spread),
      random_(seed),
      matrix_(Normals(spread.latent * dimension)),
      centers_(Normals(spread.clusters * spread.latent)) {}

std::vector<float> VectorGenerator::Normals(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal_(random_);
  return values;
}

std::vector<float> VectorGenerator::Draw(int64_t count) {
  const int64_t dimensions = spread_.latent;
  std::vector<float> all;
  all.reserve(static_cast<size_t>(count * dimension_));
  for (int64_t row = 0; row < count; ++row) {
    // The square of an even draw: a few clusters are large, many small.
    const double draw = std::uniform_real_distribution<double>(0, 1)(random_);
    const auto cluster = static_cast<int64_t>(draw * draw * static_cast<double>(spread_.clusters));
    std::vector<float> latent = Normals(dimensions);
    for (int64_t i = 0; i < dimensions; ++i) {
      latent[i] = centers_[cluster * dimensions + i] + spread_.spread * latent[i];
    }
    std::vector<float> vector = Normals(dimension_);
    for (float& value : vector) value *= kNoise;
    for (int64_t i = 0; i < dimensions; ++i) {
      const float weight = latent[i] / std::sqrt(static_cast<float>(dimensions));
      for (int64_t j = 0; j < dimension_; ++j) {
        vector[j] += weight * matrix_[i * dimension_ + j];
      }
    }
    all.insert(all.end(), vector.begin(), vector.end());
  }
  if (metric_ == Metric::kCosine) ScaleToUnit(all, dimension_);
  return all;
}

VectorSet GenerateVectorSet(const GeneratedSet& wanted, int32_t k) {
  VectorGenerator generator(wanted.metric, wanted.dimension, wanted.seed, wanted.spread);
  VectorSet set{.name = wanted.name, .metric = wanted.metric, .dimension = wanted.dimension};
  set.base = generator.Draw(wanted.rows);
  set.queries = generator.Draw(wanted.queries);
  if (k > 0) FindLimits(set, k);
  return set;
}

}  // namespace baton
