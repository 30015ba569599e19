#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "engine/request/vector_request.h"

namespace baton {

// Vectors to search, queries, and what the right answers are.
struct VectorSet {
  std::string name;
  Metric metric = Metric::kL2;
  int64_t dimension = 0;
  std::vector<float> base;     // [rows, dimension], row-major; unit length under kCosine
  std::vector<float> queries;  // [queries, dimension], row-major; likewise
  // How far the k-th nearest row of each of the first queries is, with ann-benchmarks' tolerance of
  // 0.001: Euclidean distance, or 1 - cosine.
  std::vector<double> limits;

  int64_t rows() const { return static_cast<int64_t>(base.size()) / dimension; }
  int64_t query_count() const { return static_cast<int64_t>(queries.size()) / dimension; }
  const float* row(int64_t i) const { return base.data() + i * dimension; }
  const float* query(int64_t i) const { return queries.data() + i * dimension; }

  // The recall of ann-benchmarks: found[q] counts where it is no farther than the limit.
  //   found: [limits.size()] row numbers of at most k rows
  double Recall(const std::vector<std::vector<int64_t>>& found, int32_t k) const;
};

// FOLDER/NAME_base.bvecs and NAME_query.bvecs (or .fvecs): records of int32 dimension, then values.
VectorSet ReadVectorSet(const std::string& folder, const std::string& name, int32_t k);

// How generated vectors lie.
struct VectorSpread {
  int64_t latent = 32;  // dimensions of the space that they are drawn in
  int64_t clusters = 300;
  float spread = 0.7f;  // of a cluster, beside 1 of the centers
};
// Found by trial (`./dev bench vector` prints it): for a recall of 0.95 hnswlib with M = 16 needs
// an ef of 76 for 100,000 of 128 values and 64 for 50,000 of 768; of the others 17 for the former.
inline constexpr VectorSpread kHardSpread = {.latent = 96, .clusters = 20, .spread = 1};

struct GeneratedSet {
  std::string name;
  Metric metric = Metric::kL2;
  int64_t dimension = 0;
  int64_t rows = 0;
  int64_t queries = 0;
  uint64_t seed = 0;
  VectorSpread spread = {};
};

// Vectors like embeddings: clusters of uneven size in a space of fewer dimensions than the vectors
// have, turned into them by a random matrix, with some noise.
class VectorGenerator {
 public:
  VectorGenerator(Metric metric, int64_t dimension, uint64_t seed, const VectorSpread& spread = {});
  // The next ones: [count, dimension], row-major; of unit length under kCosine.
  std::vector<float> Draw(int64_t count);

 private:
  std::vector<float> Normals(int64_t count);

  const Metric metric_;
  const int64_t dimension_;
  const VectorSpread spread_;
  std::mt19937_64 random_;
  std::normal_distribution<float> normal_;
  const std::vector<float> matrix_;   // [latent dimensions, dimension]
  const std::vector<float> centers_;  // [clusters, latent dimensions]
};

// Without limits where k is 0.
VectorSet GenerateVectorSet(const GeneratedSet& wanted, int32_t k);

}  // namespace baton
