// Compiled with -march=native, as the peer's users do: runs on the machine that built it only.
#include "tests/bench/hnswlib_peer.h"

#include <utility>

// The engine includes hnswlib too: under other names the two do not meet in the linker.
#define hnswlib native_hnswlib
#define cpuid native_hnswlib_cpuid
#define xgetbv native_hnswlib_xgetbv
#define AVXCapable native_hnswlib_avx_capable
#define AVX512Capable native_hnswlib_avx512_capable
#include "hnswlib/hnswlib.h"

namespace baton {

class HnswlibPeer::Index {
 public:
  Index(Metric metric, int64_t dimension) : space_(MakeSpace(metric, dimension)) {}

  void Make(int64_t rows, int32_t m, int32_t ef_construction) {
    hnsw_ = std::make_unique<native_hnswlib::HierarchicalNSW<float>>(
        space_.get(), static_cast<size_t>(rows), static_cast<size_t>(m),
        static_cast<size_t>(ef_construction));
  }
  void Load(const std::string& path) {
    hnsw_ = std::make_unique<native_hnswlib::HierarchicalNSW<float>>(space_.get(), path);
    hnsw_->num_deleted_ = 0;  // 0.6.2 does not initialise it when loading
  }
  native_hnswlib::HierarchicalNSW<float>& hnsw() { return *hnsw_; }

 private:
  static std::unique_ptr<native_hnswlib::SpaceInterface<float>> MakeSpace(Metric metric,
                                                                          int64_t dimension) {
    const auto d = static_cast<size_t>(dimension);
    if (metric == Metric::kL2) return std::make_unique<native_hnswlib::L2Space>(d);
    return std::make_unique<native_hnswlib::InnerProductSpace>(d);
  }

  const std::unique_ptr<native_hnswlib::SpaceInterface<float>> space_;
  std::unique_ptr<native_hnswlib::HierarchicalNSW<float>> hnsw_;
};

HnswlibPeer::HnswlibPeer(Metric metric, int64_t dimension, int64_t rows, int32_t m,
                         int32_t ef_construction)
    : index_(std::make_unique<Index>(metric, dimension)) {
  index_->Make(rows, m, ef_construction);
}

HnswlibPeer::HnswlibPeer(Metric metric, int64_t dimension, const std::string& path)
    : index_(std::make_unique<Index>(metric, dimension)) {
  index_->Load(path);
}

HnswlibPeer::~HnswlibPeer() = default;

void HnswlibPeer::Add(int64_t row, const float* vector) {
  index_->hnsw().addPoint(vector, static_cast<size_t>(row));
}

void HnswlibPeer::Save(const std::string& path) const { index_->hnsw().saveIndex(path); }

void HnswlibPeer::SetEf(int64_t ef) { index_->hnsw().setEf(static_cast<size_t>(ef)); }

void HnswlibPeer::Search(const float* query, int32_t k, std::vector<int64_t>* rows) const {
  auto found = index_->hnsw().searchKnn(query, static_cast<size_t>(k));
  rows->clear();
  for (; !found.empty(); found.pop()) rows->push_back(static_cast<int64_t>(found.top().second));
}

void PlainDistances(Metric metric, const float* query, const float* rows, int64_t count,
                    int64_t dimension, float* out) {
  const bool l2 = metric == Metric::kL2;
  for (int64_t row = 0; row < count; ++row) {
    const float* const vector = rows + row * dimension;
    float sums[16] = {};
    const auto add = [&](int64_t i, int64_t lane) {
      const float difference = query[i] - vector[i];
      sums[lane] += l2 ? difference * difference : query[i] * vector[i];
    };
    int64_t i = 0;
    for (; i + 16 <= dimension; i += 16) {
      for (int64_t lane = 0; lane < 16; ++lane) add(i + lane, lane);
    }
    for (; i < dimension; ++i) add(i, 0);
    float sum = 0;
    for (const float lane : sums) sum += lane;
    out[row] = l2 ? sum : 1 - sum;
  }
}

}  // namespace baton
