#include "tests/bench/faiss_peer.h"

#include "faiss/IndexFlat.h"
#include "faiss/IndexIVF.h"
#include "faiss/IndexIVFPQFastScan.h"
#include "faiss/IndexRefine.h"
#include "faiss/IndexScalarQuantizer.h"

extern "C" void omp_set_num_threads(int threads);
extern "C" void openblas_set_num_threads(int threads);

namespace baton {

class FaissPeer::Index {
 public:
  Index(const FaissIvf& ivf, const float* vectors, int64_t rows)
      : metric_(ivf.metric == Metric::kL2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT),
        quantizer_(ivf.dimension, metric_) {
    omp_set_num_threads(1);
    openblas_set_num_threads(1);
    const auto dimension = static_cast<size_t>(ivf.dimension);
    const auto lists = static_cast<size_t>(ivf.lists);
    if (ivf.sub_quantizers > 0) {
      lists_ = std::make_unique<faiss::IndexIVFPQFastScan>(
          &quantizer_, dimension, lists, static_cast<size_t>(ivf.sub_quantizers), 4, metric_);
    } else {
      lists_ = std::make_unique<faiss::IndexIVFScalarQuantizer>(
          &quantizer_, dimension, lists, faiss::ScalarQuantizer::QT_8bit, metric_);
    }
    lists_->cp.min_points_per_centroid = 1;  // fewer are a warning on stderr
    refined_ = std::make_unique<faiss::IndexRefineFlat>(lists_.get());
    refined_->train(rows, vectors);
    refined_->add(rows, vectors);
  }

  void SetEffort(int32_t nprobe, int32_t candidates) {
    lists_->nprobe = static_cast<size_t>(nprobe);
    candidates_ = candidates;
  }

  void Search(const float* query, int32_t k, std::vector<int64_t>* rows) {
    refined_->k_factor = static_cast<float>(candidates_) / static_cast<float>(k);
    distances_.resize(static_cast<size_t>(k));
    rows->resize(static_cast<size_t>(k));
    refined_->search(1, query, k, distances_.data(), rows->data());
  }

 private:
  const faiss::MetricType metric_;
  faiss::IndexFlat quantizer_;
  std::unique_ptr<faiss::IndexIVF> lists_;
  std::unique_ptr<faiss::IndexRefineFlat> refined_;
  int32_t candidates_ = 0;
  std::vector<float> distances_;
};

FaissPeer::FaissPeer(const FaissIvf& ivf, const float* vectors, int64_t rows)
    : index_(std::make_unique<Index>(ivf, vectors, rows)) {}
FaissPeer::~FaissPeer() = default;

void FaissPeer::SetEffort(int32_t nprobe, int32_t candidates) {
  index_->SetEffort(nprobe, candidates);
}

void FaissPeer::Search(const float* query, int32_t k, std::vector<int64_t>* rows) const {
  index_->Search(query, k, rows);
}

}  // namespace baton
